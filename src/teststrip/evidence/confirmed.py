"""What the held-out prompts and fresh seeds say: the only images that may confirm a winner.

Every leader that was ever confirmed is in the family that Holm corrects for, so that confirming
again with others cannot hide those that failed. With one held-out prompt an interval is over its
seeds alone and says nothing of other prompts: then nothing is supported.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from teststrip.errors import StudyError
from teststrip.evidence.compare import Comparison, against
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Grid, build
from teststrip.evidence.interval import Interval, interval
from teststrip.evidence.numbers import count
from teststrip.evidence.ranking import ALONE, BETTER, FAILED, Ranking
from teststrip.evidence.standing import pass_rate

if TYPE_CHECKING:
    import pandas as pd

HELD_OUT = "held_out"


@dataclass(frozen=True)
class Confirmed:
    """The leaders of a search against its baseline, on images that chose nothing.

    `rows`: one comparison for each leader ever confirmed, in the search's order, Holm-corrected
    over them. `means`: recipe id -> mean score with its interval (baseline included). `passes`:
    pass rate at the threshold likewise, empty without threshold. `supported`: ids that are better
    than the baseline here. `expected`: recipe id -> the gain that the search promised (shrunk where
    known). `seeds`: the most for one prompt. `note`: why nothing can be concluded, or empty.
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
    note: str = ""

    @property
    def champion(self) -> str | None:
        """The first leader, in the search's order, that the confirmation supports."""
        return self.supported[0] if self.supported else None

    def row(self, recipe_id: str) -> Comparison | None:
        """A leader's comparison with the baseline; None where it was not confirmed."""
        return next((row for row in self.rows if row.a == recipe_id), None)


def confirmed(
    table: "pd.DataFrame", facts: StudyFacts, ranking: Ranking, expected: Mapping[str, float]
) -> Confirmed | None:
    """The confirmation in the table's rows with `split` held_out; None where there are none.

    `expected`: the gains that the search promised; where one is missing the ranking's is taken.
    """
    tried = table[table["split"] == HELD_OUT]
    if not len(tried):
        return None
    nothing = Confirmed(
        rows=(),
        baseline=facts.baseline or "",
        means={},
        passes={},
        expected={},
        supported=(),
        images=0,
        prompts=int(tried["prompt_id"].nunique()),
        seeds=int(tried.groupby("prompt_id")["seed"].nunique().max()),
    )
    try:
        grid = build(table, facts, HELD_OUT)
    except StudyError:
        return replace(nothing, note=f"none of the {len(tried)} held-out images has a score")
    found = replace(
        nothing,
        images=int(grid.have.sum()),
        means=_means(grid, facts),
        passes=_passes(grid, facts),
    )
    note = _hindrance(grid, facts)
    if note:
        return replace(found, note=note)
    order = {row.recipe_id: place for place, row in enumerate(ranking.rows)}
    leaders = [name for name in grid.recipes if name != facts.baseline]
    leaders.sort(key=lambda name: order.get(name, len(order)))
    rows = tuple(
        _judged(grid, row) for row in against(grid, leaders, str(facts.baseline), facts.confidence)
    )
    promised = {r.recipe_id: r.gain.mean for r in ranking.rows if r.gain.units} | dict(expected)
    return replace(
        found,
        rows=rows,
        expected={name: promised[name] for name in leaders if name in promised},
        supported=tuple(row.a for row in rows if row.verdict == BETTER),
        note=_one_prompt(grid),
    )


def _hindrance(grid: Grid, facts: StudyFacts) -> str:
    """Why nothing can be held against the baseline; empty where it can."""
    if facts.baseline is None:
        return "no baseline is named, so there is nothing to confirm against"
    if facts.baseline not in grid.recipes:
        return f"the baseline {facts.baseline} has no held-out images"
    index = grid.recipes.index(facts.baseline)
    if not grid.usable[index]:
        tried, have = int(grid.tried[index].sum()), int(grid.have[index].sum())
        return (
            f"the baseline failed on {tried - have} of {count(tried, 'held-out image')}, "
            "so nothing can be held against it"
        )
    if len(grid.recipes) == 1:
        return "only the baseline has held-out images"
    return ""


def _one_prompt(grid: Grid) -> str:
    if len(grid.prompt_ids) > 1:
        return ""
    return (
        "one held-out prompt: intervals and p values are over its seeds alone and say nothing of "
        "other prompts, so nothing is supported"
    )


def _judged(grid: Grid, row: Comparison) -> Comparison:
    """A comparison whose verdict may count as a confirmation."""
    if not grid.usable[grid.recipes.index(row.a)]:
        return replace(row, verdict=FAILED)
    if row.prompts < 2:
        return replace(row, verdict=ALONE)
    return row


def _means(grid: Grid, facts: StudyFacts) -> dict[str, Interval]:
    return {
        name: interval(grid.units(values), facts.confidence)
        for name, values in zip(grid.recipes, grid.values, strict=True)
        if np.isfinite(values).any()
    }


def _passes(grid: Grid, facts: StudyFacts) -> dict[str, Interval]:
    if facts.threshold is None:
        return {}
    least = grid.sign * facts.threshold
    return {
        name: pass_rate(
            (grid.sign * values[have] >= least).astype(float),
            grid.prompt_index[have],
            facts.confidence,
        )
        for name, values, have in zip(grid.recipes, grid.values, grid.have, strict=True)
        if have.any()
    }
