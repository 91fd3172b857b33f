"""Heat: the range of means that a wall's tint runs over, the same on the page and in its picture.

A few cells far from all others would leave every other one the same colour, so the tint runs from
the 5 % to the 95 % quantile of the shown cells' means; what is beyond has the colour of that end,
and the legend says so. Under ten cells it runs over all of them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor

FEW, CUT = 10, 0.05


@dataclass(frozen=True)
class Heat:
    """`low`, `high`: where the tint begins and ends. `below`, `above`: are there means beyond?"""

    low: float
    high: float
    below: bool
    above: bool

    def share(self, mean: float | None, better_high: bool) -> float:
        """0 for the worst cells, 1 for the best; 0 where all are alike or there is no mean."""
        if mean is None or self.high == self.low:
            return 0.0
        share = min(1.0, max(0.0, (mean - self.low) / (self.high - self.low)))
        return share if better_high else 1 - share


def heat_of(means: Iterable[float | None]) -> Heat | None:
    """None where no cell has a mean."""
    found = sorted(mean for mean in means if mean is not None)
    if not found:
        return None
    low, high = found[0], found[-1]
    if len(found) >= FEW:
        low, high = _quantile(found, CUT), _quantile(found, 1 - CUT)
    if low == high:  # nearly all alike: then the few others are what there is to see
        low, high = found[0], found[-1]
    return Heat(low, high, found[0] < low, found[-1] > high)


def _quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    first = floor(place)
    rest = place - first
    return ordered[first] + (rest * (ordered[first + 1] - ordered[first]) if rest else 0.0)
