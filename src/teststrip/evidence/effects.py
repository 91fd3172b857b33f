"""What each parameter does: its values' mean advantage on the blocks that every recipe was shown.

A score less its block's mean over the recipes is free of prompt and seed. Only the first rung is
used: later rungs hold the winners of earlier ones, which would bend every curve. Intervals are
by prompt, for the recipes of this study: a parameter that was varied together with another
(random designs) shares its effect.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import build
from teststrip.evidence.interval import Interval, interval
from teststrip.evidence.numbers import show
from teststrip.evidence.table import settings_of, varied_fields

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 8


@dataclass(frozen=True)
class Level:
    """One value of a parameter (or the middle of a bin of values): its advantage, positive good."""

    value: Any
    label: str
    gain: Interval
    recipes: int


@dataclass(frozen=True)
class Effect:
    """One parameter. `numeric`: the levels lie on an axis. `binned`: levels are groups of values.

    `blocks` images per recipe over `prompts` prompts were used, of `recipes` recipes.
    """

    field: str
    numeric: bool
    binned: bool
    levels: tuple[Level, ...]
    blocks: int
    prompts: int
    recipes: int

    @property
    def span(self) -> float:
        """Best level less worst level, in units of the score."""
        means = [level.gain.mean for level in self.levels]
        return max(means) - min(means)


def effects(table: "pd.DataFrame", facts: StudyFacts) -> tuple[Effect, ...]:
    """The effect of every varied parameter, the largest span first."""
    grid = build(table, facts)
    recipes, blocks = grid.complete_part()
    if len(recipes) < 2 or not len(blocks):
        return ()
    values = grid.sign * grid.values[np.ix_(recipes, blocks)]
    lead = np.full((len(recipes), len(grid.blocks)), np.nan)
    lead[:, blocks] = values - values.mean(axis=0)
    fields = facts.varied or varied_fields(table)
    settings = settings_of(table, fields)
    found, alone = [], [facts.baseline]
    for field in fields:
        cells = [settings[grid.recipes[i]][field] for i in recipes]
        groups, numeric, binned = _groups(cells)
        # a value that only the baseline has was not searched: it would be one recipe's doing
        groups = [g for g in groups if [grid.recipes[recipes[k]] for k in g[2]] != alone]
        if len(groups) < 2:
            continue
        found.append(
            Effect(
                field=field,
                numeric=numeric,
                binned=binned,
                levels=tuple(
                    Level(
                        value=value,
                        label=label,
                        gain=interval(grid.units(lead[members].mean(axis=0)), facts.confidence),
                        recipes=len(members),
                    )
                    for value, label, members in groups
                ),
                blocks=len(blocks),
                prompts=len(set(grid.prompt_index[blocks].tolist())),
                recipes=len(recipes),
            )
        )
    return tuple(sorted(found, key=lambda effect: -effect.span))


def _groups(cells: list[Any]) -> tuple[list[tuple[Any, str, list[int]]], bool, bool]:
    """(value, label, indices of its recipes) per level; are they numeric; are they binned."""
    numbers = [c for c in cells if isinstance(c, int | float) and not isinstance(c, bool)]
    if len(numbers) < len(cells):
        labels = {i: show(c) for i, c in enumerate(cells)}
        names = sorted(set(labels.values()))
        return [(n, n, [i for i in labels if labels[i] == n]) for n in names], False, False
    distinct = sorted(set(numbers))
    if len(distinct) <= MOST_POINTS:
        return (
            [(v, show(v), [i for i, c in enumerate(cells) if c == v]) for v in distinct],
            True,
            False,
        )
    bins = np.array_split(np.argsort(np.array(numbers), kind="stable"), MOST_POINTS - 2)
    groups = []
    for members in bins:
        inside = [numbers[i] for i in members]
        label = f"{show(min(inside))} to {show(max(inside))}"
        groups.append((float(np.median(inside)), label, [int(i) for i in members]))
    return groups, True, True
