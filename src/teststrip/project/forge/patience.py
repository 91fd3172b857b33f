"""How long a server is waited for."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How often a question is asked, and how long is waited between. `longest_s`: at most."""

    tries: int = 5
    first_s: float = 1.0
    longest_s: float = 120.0
    timeout_s: float = 30.0

    def before(self, attempt: int) -> float:
        """Seconds to wait after this attempt (from 0) where the server names none."""
        return float(min(self.first_s * 2**attempt, self.longest_s))
