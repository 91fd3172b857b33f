"""The recipes that a design chose, on the blocks that all of them were shown: free of selection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Floats, Grid, Ints
from teststrip.evidence.numbers import show
from teststrip.evidence.table import settings_of, varied_fields

if TYPE_CHECKING:
    import pandas as pd

DUMMY = "dummy_"  # a searched parameter of this name does nothing, by construction
FEW = 8


@dataclass(frozen=True)
class Searched:
    """What effects and importance start from.

    `lead` [R, U]: each recipe's advantage over the mean recipe, positive is better, by prompt (by
    block where there is one prompt). `cells`: field -> its value for each of the R recipes, for
    the fields that have more than one value. `constant`: varied fields that have only one here.
    """

    lead: Floats
    cells: dict[str, list[Any]]
    constant: tuple[str, ...]
    blocks: int
    prompts: int

    @property
    def recipes(self) -> int:
        """R."""
        return len(self.lead)


def searched(table: "pd.DataFrame", facts: StudyFacts, grid: Grid) -> Searched:
    """The complete part of a grid, less a baseline that the design would not have chosen.

    Such a baseline has a value of its own, or no value for a dummy: kept, it would be a level of
    one recipe, and far outside a range it would bend every curve.
    """
    none = np.zeros(0, dtype=np.intp)
    recipes, blocks = grid.complete_part() if grid.usable.any() else (none, none)
    fields = facts.varied or varied_fields(table)
    settings = settings_of(table, fields)
    cells = {f: [settings[grid.recipes[i]][f] for i in recipes] for f in fields}
    place = [k for k, i in enumerate(recipes) if grid.recipes[i] == facts.baseline]
    if len(recipes) > 2 and place and any(_is_outside(c, place[0], f) for f, c in cells.items()):
        recipes = np.delete(recipes, place[0])
        cells = {f: c[: place[0]] + c[place[0] + 1 :] for f, c in cells.items()}
    moving = {f: c for f, c in cells.items() if len({show_key(v) for v in c}) > 1}
    return Searched(
        lead=_lead(grid, recipes, blocks),
        cells=moving,
        constant=tuple(f for f in fields if f not in moving),
        blocks=len(blocks),
        prompts=len(set(grid.prompt_index[blocks].tolist())),
    )


def is_number(value: Any) -> bool:
    """A number, and not a yes or no."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def show_key(value: Any) -> str:
    """One text for each distinct value."""
    return repr(value) if is_number(value) else show(value)


def _lead(grid: Grid, recipes: Ints, blocks: Ints) -> Floats:
    values = grid.sign * grid.values[np.ix_(recipes, blocks)]
    if not values.size:
        return np.zeros((len(recipes), 0))
    lead = np.full((len(recipes), len(grid.blocks)), np.nan)
    lead[:, blocks] = values - values.mean(axis=0)
    index = grid.prompt_index[blocks]
    if len(set(index.tolist())) == 1:
        alone: Floats = lead[:, blocks]
        return alone
    means = grid.prompt_means(lead)
    kept: Floats = means[:, np.unique(index)]
    return kept


def _is_outside(cells: Sequence[Any], place: int, field: str) -> bool:
    """Would the design not have chosen the value at `place`?"""
    own, others = cells[place], [c for k, c in enumerate(cells) if k != place]
    if field.startswith(DUMMY):
        return own is None and any(c is not None for c in others)
    keys = {show_key(c) for c in others}
    if show_key(own) in keys:
        return False
    if not all(is_number(c) for c in cells):
        return len(keys) < len(others)
    if len(keys) <= max(FEW, len(others) // 2) and len(keys) < len(others):
        return True  # the others share a few values
    low, high = min(others), max(others)
    # values drawn evenly leave gaps of about the range / their number at its ends
    margin = (high - low) * max(0.1, 2.5 / len(others))
    return bool(own < low - margin or own > high + margin)
