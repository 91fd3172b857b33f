"""The values of a parameter as levels: each value, or groups of them where there are many."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from teststrip.evidence.numbers import show
from teststrip.evidence.searched import is_number

MOST_POINTS = 8


@dataclass(frozen=True)
class Group:
    """One level: its value (of a group of values the median), its name, its recipes' places.

    `ends`: the least and the largest value of a group of values; None for a single value.
    """

    value: Any
    label: str
    members: tuple[int, ...]
    ends: tuple[float, float] | None = None


@dataclass(frozen=True)
class Levels:
    """`numeric`: they lie on an axis. `binned`: some are groups of values."""

    groups: tuple[Group, ...]
    numeric: bool
    binned: bool


def levels_of(
    cells: Sequence[Any], points: int = MOST_POINTS, bins: int = MOST_POINTS - 2
) -> Levels:
    """Numbers of more than `points` values are put into `bins` groups of about equal size.

    Words come in alphabetical order, after the numbers where there are both.
    """
    numbers = {k: c for k, c in enumerate(cells) if is_number(c)}
    words: dict[str, list[int]] = {}
    for k, cell in enumerate(cells):
        if k not in numbers:
            words.setdefault(show(cell), []).append(k)
    named = tuple(Group(word, word, tuple(words[word])) for word in sorted(words))
    distinct = sorted(set(numbers.values()))
    if len(distinct) > points:
        return Levels(_binned(numbers, bins) + named, not named, True)
    each = tuple(
        Group(v, show(v), tuple(k for k, c in numbers.items() if c == v)) for v in distinct
    )
    if named:  # a number among words is a word
        each = tuple(Group(g.label, g.label, g.members) for g in each)
    return Levels(each + named, not named, False)


def _binned(numbers: dict[int, Any], bins: int) -> tuple[Group, ...]:
    """Equal values stay together, so a value that many recipes have makes a large group."""
    places = np.array(list(numbers))
    values = np.array([float(v) for v in numbers.values()])
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1), method="higher"))
    place = np.searchsorted(edges[1:-1], values, side="right")
    groups = []
    for k in np.unique(place):
        inside, members = values[place == k], places[place == k]
        low, high = show(_short(inside.min())), show(_short(inside.max()))
        groups.append(
            Group(
                float(np.median(inside)),
                low if low == high else f"{low} to {high}",
                tuple(int(i) for i in members),
                (float(inside.min()), float(inside.max())),
            )
        )
    return tuple(groups)


def _short(value: float) -> float | int:
    """7.0 is 7 to a reader."""
    return int(value) if float(value).is_integer() else float(value)
