"""Two arms on the same prompts and seeds: what differs, how surely, and what would settle it.

A block is a prompt's text and a seed, whatever the prompt is called: that is what decides a
picture. Only blocks that both arms have are compared; the unit is the prompt mean; p values are
Holm-corrected over the scores (evidence/interval.py and evidence/compare.py hold the methods).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from teststrip.errors import MissingExtra
from teststrip.evidence.compare import Comparison, compare
from teststrip.evidence.grid import Floats, Grid
from teststrip.evidence.interval import Interval, holm, interval
from teststrip.evidence.power import Spread, prompts_needed
from teststrip.evidence.ranking import ALONE, verdict_of
from teststrip.project.scores import Row

BEFORE, AFTER = "before", "after"
POWER = 0.8


@dataclass(frozen=True)
class Blocks:
    """Which blocks two arms have: `common` are compared, the others are left out."""

    common: tuple[tuple[str, int], ...]
    only_before: int
    only_after: int

    @property
    def prompts(self) -> int:
        """Prompts among the common blocks."""
        return len({prompt for prompt, _ in self.common})

    @property
    def same(self) -> bool:
        """Nothing was left out."""
        return not self.only_before and not self.only_after


@dataclass(frozen=True)
class Pair:
    """One score before and after, on the common blocks.

    `before`, `after`: the arms' own means there. `found`: after against before, positive is better.
    `needed`: prompts in all that would tell a difference of this size in 80 % of cases, None where
    no feasible number would. `identical`: every score is the same number on both sides.
    """

    score: str
    higher_is_better: bool
    before: Interval
    after: Interval
    found: Comparison
    needed: int | None
    identical: bool


def blocks(before: Sequence[Row], after: Sequence[Row]) -> Blocks:
    """The blocks of two arms; common ones in the order of `after`."""
    old, new = dict.fromkeys(map(block, before)), dict.fromkeys(map(block, after))
    common = tuple(one for one in new if one in old)
    return Blocks(common, len(old) - len(common), len(new) - len(common))


def block(picture: Row) -> tuple[str, int]:
    """What both pictures of a pair share."""
    return picture.prompt, picture.seed


def pairs(
    before: Sequence[Row],
    after: Sequence[Row],
    higher_is_better: Mapping[str, bool],
    confidence: float = 0.95,
) -> tuple[Pair, ...]:
    """Each score of `higher_is_better` that both arms have, in its order; empty without blocks."""
    grids = {}
    for score, higher in higher_is_better.items():
        grid = _grid(before, after, score, 1 if higher else -1)
        if grid is not None:
            grids[score] = grid
    try:
        found = {score: compare(grid, AFTER, BEFORE, confidence) for score, grid in grids.items()}
    except ImportError as exc:  # scipy
        raise MissingExtra("a report", "report") from exc
    if not found:
        return ()
    raised = holm(np.array([one.p_t for one in found.values()]))
    out = []
    for (score, one), p in zip(found.items(), raised, strict=True):
        verdict = verdict_of(one.gain, float(p), 1 - confidence) if one.prompts > 1 else ALONE
        judged = replace(one, p_holm=float(p), family=len(found), verdict=verdict)
        grid = grids[score]
        out.append(
            Pair(
                score=score,
                higher_is_better=higher_is_better[score],
                before=interval(grid.units(grid.values[0]), confidence),
                after=interval(grid.units(grid.values[1]), confidence),
                found=judged,
                needed=_needed(grid, judged, 1 - confidence),
                identical=bool((grid.values[0] == grid.values[1]).all()),
            )
        )
    return tuple(out)


def _grid(before: Sequence[Row], after: Sequence[Row], score: str, sign: int) -> Grid | None:
    """Both arms on the blocks where both have this score; None where there is none."""
    arms = [
        {block(p): p.scores[score] for p in arm if np.isfinite(p.scores.get(score, np.nan))}
        for arm in (before, after)
    ]
    common = [one for one in arms[1] if one in arms[0]]
    if not common:
        return None
    prompts = tuple(dict.fromkeys(prompt for prompt, _ in common))
    values = np.array([[arm[one] for one in common] for arm in arms])
    return Grid(
        recipes=(BEFORE, AFTER),
        blocks=tuple(common),
        prompt_ids=prompts,
        prompt_index=np.array([prompts.index(p) for p, _ in common], dtype=np.intp),
        values=values,
        tried=np.ones(values.shape, dtype=bool),
        sign=sign,
    )


def _needed(grid: Grid, found: Comparison, alpha: float) -> int | None:
    """The spread of the prompts' differences, as seen, stands for that of any further prompts."""
    units: Floats = grid.units(grid.values[1] - grid.values[0])
    if found.prompts < 2 or not found.gain.mean:
        return None
    spread = Spread(float(units.std(ddof=1)) / 2**0.5, 0.0, "these prompts")
    return prompts_needed(
        found.gain.mean, spread, seeds=1, comparisons=found.family, power=POWER, alpha=alpha
    )
