"""What the held-out prompts and fresh seeds say: the only images that may confirm a winner."""

from dataclasses import dataclass

from teststrip.evidence.compare import Comparison
from teststrip.evidence.interval import Interval


@dataclass(frozen=True)
class Confirmed:
    """The leaders of a search against its baseline, on images that chose nothing.

    `rows`: one comparison for each leader, in the search's order, Holm-corrected over them.
    `means`: recipe id -> mean score with its interval (baseline included). `passes`: pass rate at
    the threshold likewise, empty without threshold. `supported`: ids that are better than the
    baseline here. `expected`: recipe id -> the gain that the search promised (shrunk where known).
    """

    rows: tuple[Comparison, ...]
    baseline: str
    means: dict[str, Interval]
    passes: dict[str, Interval]
    expected: dict[str, float]
    supported: tuple[str, ...]
    images: int
    prompts: int
    seeds: int

    @property
    def champion(self) -> str | None:
        """The first leader, in the search's order, that the confirmation supports."""
        return self.supported[0] if self.supported else None
