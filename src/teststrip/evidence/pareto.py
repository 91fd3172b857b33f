"""Quality against cost per image: a question of taste, so the front is shown, not a sum.

Who is on the front is itself uncertain; prompts are drawn anew (bootstrap) to say how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Floats, Grid
from teststrip.evidence.interval import Interval, lower_bound, resampled_means
from teststrip.evidence.ranking import Ranked, Ranking

SECONDS, MODEL_CALLS = "seconds", "model calls"


@dataclass(frozen=True)
class Point:
    """A finalist. `cost`: seconds or model calls per image. `p_front`: share of resamples of the
    prompts in which no other finalist beats it in both."""

    recipe_id: str
    gain: Interval
    cost: float
    on_front: bool
    p_front: float


@dataclass(frozen=True)
class Front:
    """Finalists by cost, cheap first; stopped recipes are not asked, their gain is too often luck.

    `cheapest`: the cheapest finalist that is not worse than the best by more than `delta` (units of
    the score), at the study's confidence, corrected for all finalists that were asked; None where
    `delta` is unknown. `n_prompts`, `n_images` (per recipe) stand behind it.
    """

    cost: str
    points: tuple[Point, ...]
    delta: float | None
    cheapest: str | None
    prompts: int
    images: int

    @property
    def ids(self) -> tuple[str, ...]:
        """The recipes on the front by their means, cheap first."""
        return tuple(p.recipe_id for p in self.points if p.on_front)


def pareto(grid: Grid, ranking: Ranking, facts: StudyFacts, calls: dict[str, float]) -> Front:
    """The front of the finalists.

    `calls`: mean model calls per image by recipe, asked where no seconds are known. `delta` is the
    study's (`facts.delta`) or else the half-width of the leader's interval: what this study can
    resolve.
    """
    timed = [r for r in ranking.rows if r.level == 0 and r.gain.units and r.seconds is not None]
    counted = [r for r in ranking.rows if r.level == 0 and r.gain.units and r.recipe_id in calls]
    rows = timed or counted
    kind = SECONDS if timed else MODEL_CALLS
    cost = {r.recipe_id: float(r.seconds or 0) if timed else calls[r.recipe_id] for r in rows}
    rows = sorted(rows, key=lambda r: (cost[r.recipe_id], -r.gain.mean))
    delta = facts.delta if facts.delta is not None else _resolved(ranking)
    if not rows:
        return Front(kind, (), delta, None, 0, 0)
    index = [grid.recipes.index(r.recipe_id) for r in rows]
    inside, blocks = grid.without_holes(np.array(index), np.arange(len(grid.blocks)))
    shares = dict.fromkeys(cost, 1.0 / len(rows))
    if len(inside) and len(blocks):
        units = _units(grid, inside, blocks)
        names = [grid.recipes[i] for i in inside]
        shares |= dict(zip(names, _on_front(resampled_means(units)).mean(axis=0), strict=True))
    best = _on_front(np.array([[r.gain.mean for r in rows]]))[0]
    points = tuple(
        Point(r.recipe_id, r.gain, cost[r.recipe_id], bool(on), float(shares[r.recipe_id]))
        for r, on in zip(rows, best, strict=True)
    )
    return Front(
        cost=kind,
        points=points,
        delta=delta,
        cheapest=_cheapest(grid, ranking, rows, delta, 1 - facts.confidence),
        prompts=len(set(grid.prompt_index[blocks].tolist())),
        images=len(blocks),
    )


def _units(grid: Grid, recipes: np.ndarray, blocks: np.ndarray) -> Floats:
    """[units, recipes]: prompt means (or blocks, where there is one prompt), higher is better."""
    values = np.full((len(recipes), len(grid.blocks)), np.nan)
    values[:, blocks] = grid.sign * grid.values[np.ix_(recipes, blocks)]
    by_prompt = grid.prompt_means(values)
    kept = by_prompt[:, np.isfinite(by_prompt).all(axis=0)]
    return (kept if kept.shape[1] > 1 else values[:, blocks]).T


def _on_front(gains: Floats) -> np.ndarray:
    """[draws, recipes in order of cost] -> is it better than all that are cheaper?"""
    ahead = np.maximum.accumulate(gains, axis=1)
    first = np.ones((len(gains), 1), dtype=bool)
    return np.hstack([first, gains[:, 1:] > ahead[:, :-1]])


def _resolved(ranking: Ranking) -> float | None:
    best = ranking.row(ranking.best)
    known = best.gain if best.recipe_id != ranking.reference else best.mean
    if known.low is None or known.high is None:
        return None
    return (known.high - known.low) / 2


def _cheapest(
    grid: Grid, ranking: Ranking, rows: list[Ranked], delta: float | None, alpha: float
) -> str | None:
    if delta is None:
        return None
    best = grid.recipes.index(ranking.best)
    asked = max(len(rows) - 1, 1)
    for row in rows:
        if row.recipe_id == ranking.best:
            return row.recipe_id
        i = grid.recipes.index(row.recipe_id)
        lag = grid.units(grid.sign * (grid.values[i] - grid.values[best]))
        if len(lag) > 1 and lower_bound(lag, alpha / asked) > -delta:
            return row.recipe_id
    return None


def front(rows: Sequence[Ranked]) -> tuple[str, ...]:
    """The recipes that no other beats in both gain and seconds (by point estimates), fast first.

    Only finalists are asked: a gain from a stopped recipe's few images is too often luck.
    """
    known = [r for r in rows if r.seconds is not None and r.level == 0 and r.gain.units]
    ordered = sorted(known, key=lambda r: (r.seconds, -r.gain.mean))
    found: list[str] = []
    highest = float("-inf")
    for row in ordered:
        if row.gain.mean > highest:
            found.append(row.recipe_id)
            highest = row.gain.mean
    return tuple(found)
