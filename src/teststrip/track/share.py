"""The share of thumbs that are up, with its interval. Pure arithmetic, no store.

Ratings of one prompt are alike, so they do not count as independent: the number of ratings is
divided by their design effect (Rao & Scott 1992, clusters = prompts) before Wilson's interval is
taken. Coverage of a nominal 95 % interval, 1 to 5 ratings of each prompt, 1,500 simulated worlds,
true share 0.6 / 0.9, correlation of a prompt's ratings 0, 0.3, 0.8:

    prompts   correlation   each rating counts   as here
       6          0             .94 / .96        .95 / .97
       6          0.8           .73 / .85        .91 / .96
      40          0.3           .86 / .87        .94 / .94
      40          0.8           .73 / .74        .95 / .91

The difference of two shares: Newcombe (1998), method 10.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Any

Z = 1.959964  # 95 %


@dataclass(frozen=True)
class Share:
    """`up` of `up + down` thumbs, over so many prompts and people; bounds are 0 to 1."""

    up: int
    down: int
    prompts: int
    people: int
    low: float
    high: float

    @property
    def count(self) -> int:
        """How many thumbs there are."""
        return self.up + self.down

    @property
    def share(self) -> float | None:
        """The share that is up; None without a thumb."""
        return self.up / self.count if self.count else None

    def __str__(self) -> str:
        if self.share is None:
            return "no ratings"
        return f"{self.share:.2f} up ({self.low:.2f} to {self.high:.2f}), {self.count} ratings"

    def as_dict(self) -> dict[str, Any]:
        """For --json and for metrics; `share` is None without a thumb."""
        return {
            "up": self.up,
            "down": self.down,
            "prompts": self.prompts,
            "people": self.people,
            "share": self.share,
            "low": self.low,
            "high": self.high,
        }


@dataclass(frozen=True)
class Difference:
    """Share of a newer version minus that of an older one, with its interval."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """better, worse, or not distinguishable."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "not distinguishable"


def share_of(thumbs: Iterable[tuple[bool, str, str]]) -> Share:
    """The share of (is up, prompt, person) with a 95 % interval clustered by prompt."""
    rows = list(thumbs)
    up = sum(is_up for is_up, _, _ in rows)
    prompts: dict[str, list[int]] = {}
    for is_up, prompt, _ in rows:
        counts = prompts.setdefault(prompt, [0, 0])
        counts[0] += is_up
        counts[1] += 1
    low, high = _wilson(up, len(rows), list(prompts.values()))
    people = len({person for _, _, person in rows})
    return Share(up, len(rows) - up, len(prompts), people, low, high)


def difference(newer: Share, older: Share) -> Difference | None:
    """`newer` minus `older`; None where one of them has no thumb."""
    if newer.share is None or older.share is None:
        return None
    mean = newer.share - older.share
    below = sqrt((newer.share - newer.low) ** 2 + (older.high - older.share) ** 2)
    above = sqrt((newer.high - newer.share) ** 2 + (older.share - older.low) ** 2)
    return Difference(mean, mean - below, mean + above)


def _wilson(up: int, count: int, prompts: list[list[int]]) -> tuple[float, float]:
    if count == 0:
        return 0.0, 1.0
    share, n = up / count, _independent(up, count, prompts)
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def _independent(up: int, count: int, prompts: list[list[int]]) -> float:
    """How many independent ratings these are worth: at least 1, at most `count`."""
    groups, share = len(prompts), up / count
    if groups == 1 or up in (0, count):
        return float(groups)  # where all agree, how alike a prompt's ratings are cannot be seen
    spread = sum((ups - share * n) ** 2 for ups, n in prompts) * groups / (groups - 1)
    effect = spread / (count * share * (1 - share))
    return max(1.0, count / max(1.0, effect))
