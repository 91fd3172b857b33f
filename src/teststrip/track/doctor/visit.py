"""What the checks of one server share: the connection, and what was made there and must go."""

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from teststrip.errors import StorageError
from teststrip.guard import is_loopback
from teststrip.track.rest import Rest


@dataclass
class Visit:
    """One look at one server. `large_mb`: 0 sends no large file; `experiment`: "" makes one."""

    rest: Rest
    large_mb: int = 0
    experiment: str = ""
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    mark: str = field(default_factory=lambda: f"teststrip-doctor-{secrets.token_hex(4)}")
    asks_login: bool = True
    username: str = ""  # as the server knows who asks; "" where it has no users of its own
    experiment_id: str = ""
    run_id: str = ""
    artifact_uri: str = ""
    left: list[tuple[str, Callable[[], object]]] = field(default_factory=list)

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can ask it, going by its address."""
        host = urlsplit(self.rest.address).hostname or ""
        return is_loopback(host) or host.endswith(".localhost")

    def undo_later(self, what: str, undo: Callable[[], object]) -> None:
        """Remember how `what` is taken away again."""
        self.left.append((what, undo))

    def undo(self) -> list[str]:
        """Take everything away, the last thing first; what could not be, with the reason."""
        still = []
        while self.left:
            what, undo = self.left.pop()
            try:
                undo()
            except StorageError as exc:
                still.append(f"{what} ({exc})")
        return still
