"""Scores as recipes x blocks: what was tried, what was scored, and which part is complete.

A race leaves recipes with unequal numbers of blocks, and later blocks may be harder than early
ones. So nothing here ever averages one recipe over its own blocks and another over its own:
comparisons use blocks that both have, and pictures of the whole (luck, effects, median) use the
*complete part*, the blocks that (nearly) every recipe was shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from teststrip.errors import StudyError
from teststrip.evidence.facts import StudyFacts

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
MAX_FAILED = 0.25  # a recipe that fails more often than this is not ranked


@dataclass(frozen=True)
class Grid:
    """The scores of a study's search images.

    `values` [R, B]: raw scores, NaN where there is none. `tried` [R, B]: an image was asked for.
    `prompt_index` [B]: each block's place in `prompt_ids`. `sign`: +1 where higher is better.
    """

    recipes: tuple[str, ...]
    blocks: tuple[tuple[str, int], ...]
    prompt_ids: tuple[str, ...]
    prompt_index: Ints
    values: Floats
    tried: Bools
    sign: int

    @property
    def have(self) -> Bools:
        """[R, B]: there is a score."""
        return np.isfinite(self.values)

    @property
    def usable(self) -> Bools:
        """[R]: at least one score, and no more than a quarter of the images without one."""
        tried, have = self.tried.sum(axis=1), self.have.sum(axis=1)
        return (have > 0) & (have >= (1 - MAX_FAILED) * tried)

    def prompt_means(self, values: Floats) -> Floats:
        """[..., B] -> [..., P]: the mean of each prompt's blocks, NaN where it has none."""
        member = (self.prompt_index[:, None] == np.arange(len(self.prompt_ids))).astype(float)
        known = np.isfinite(values)
        total = np.where(known, values, 0.0) @ member
        count = known.astype(float) @ member
        with np.errstate(invalid="ignore"):
            means: Floats = np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)
        return means

    def units(self, values: Floats) -> Floats:
        """[B] -> independent units: the prompt means, or the blocks where there is one prompt.

        Images of one prompt are alike; taken as independent they give 12 % false alarms for a
        test of 5 % (tests/evidence/test_interval.py repeats this).
        """
        known = np.isfinite(values)
        if len(set(self.prompt_index[known].tolist())) > 1:
            means = self.prompt_means(values)
            kept: Floats = means[np.isfinite(means)]
            return kept
        alone: Floats = values[known]
        return alone

    def complete_part(self) -> tuple[Ints, Ints]:
        """(recipes, blocks) without a hole between them: the first rung of a race.

        The blocks that 90 % of the usable recipes were shown (75 or 50 % where no two are), less
        the recipes and blocks with holes (see `without_holes`).
        """
        inside = np.flatnonzero(self.usable)
        part = (inside[:0], inside[:0])
        for share in (0.9, 0.75, 0.5):
            blocks = np.flatnonzero(self.tried[inside].mean(axis=0) >= share)
            part = self.without_holes(inside, blocks)
            if len(part[0]) >= min(2, len(inside)) and len(part[1]) >= 2:
                break
        return part

    def without_holes(self, recipes: Ints, blocks: Ints) -> tuple[Ints, Ints]:
        """Leave out the recipe or block with the largest share of holes until none is left."""
        while len(recipes) and len(blocks):
            holes = ~self.have[np.ix_(recipes, blocks)]
            if not holes.any():
                break
            by_recipe, by_block = holes.mean(axis=1), holes.mean(axis=0)
            if by_block.max() > by_recipe.max():
                blocks = np.delete(blocks, by_block.argmax())
            else:
                recipes = np.delete(recipes, by_recipe.argmax())
        return recipes, blocks


def build(table: "pd.DataFrame", facts: StudyFacts, split: str = "search") -> Grid:
    """The grid of one split's scores. Raises StudyError where no image has a score."""
    import pandas as pd

    rows = table[table["split"] == split]
    i, recipes = pd.factorize(rows["recipe_id"])
    order = rows.drop_duplicates(["prompt_id", "seed"]).sort_values("block", kind="stable")
    blocks = pd.MultiIndex.from_frame(order[["prompt_id", "seed"]])
    j = blocks.get_indexer(pd.MultiIndex.from_frame(rows[["prompt_id", "seed"]]))
    prompt_index, prompt_ids = pd.factorize(order["prompt_id"])
    values = np.full((len(recipes), len(blocks)), np.nan)
    tried = np.zeros(values.shape, dtype=bool)
    scores = rows[facts.objective].astype(float).to_numpy(copy=True)
    scores[(rows["status"] != "ok").to_numpy() | ~np.isfinite(scores)] = np.nan
    values[i, j], tried[i, j] = scores, True
    if not np.isfinite(values).any():
        raise StudyError(_nothing(rows, facts))
    return Grid(
        recipes=tuple(str(name) for name in recipes),
        blocks=tuple((str(p), int(s)) for p, s in blocks),
        prompt_ids=tuple(str(name) for name in prompt_ids),
        prompt_index=prompt_index.astype(np.intp),
        values=values,
        tried=tried,
        sign=facts.sign,
    )


def levels(counts: Sequence[int]) -> list[int]:
    """How far each recipe raced, 0 is furthest: within a level all have 3/4 of its most blocks."""
    level, top, number = {}, 0, -1
    for count in sorted(set(counts), reverse=True):
        if count < 0.75 * top or number < 0:
            top, number = count, number + 1
        level[count] = number
    return [level[count] for count in counts]


def _nothing(rows: "pd.DataFrame", facts: StudyFacts) -> str:
    failed = rows[rows["status"] != "ok"]
    reasons = failed["reason"].astype(str).value_counts().head(3)
    why = "; ".join(f"{count} x {reason or 'no reason given'}" for reason, count in reasons.items())
    return (
        f"study {facts.name!r}: none of its {len(rows)} images has a score {facts.objective!r}, "
        f"so there is nothing to rank ({len(failed)} failed{': ' + why if why else ''}). "
        "Mend the cause, then resume the study"
    )
