"""What all races share: how recipes are compared on the blocks that they have in common.

All comparisons are paired (the same blocks for all) and clustered (the mean of prompt means, so
that a prompt with more blocks counts no more).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.intp]
MOST_FAILED = 0.25


class Scores(Protocol):
    """What a race may ask for and see."""

    def fetch(self, needs: Mapping[str, int]) -> None:
        """Have each recipe's first n blocks made and scored. May raise OutOfBudget."""
        ...

    def matrix(self, ids: Sequence[str], blocks: int) -> Floats:
        """Scores [objectives, recipes, blocks], higher is better, NaN where one failed."""
        ...

    def prompts(self, blocks: int) -> Sequence[str]:
        """The prompt of each of the first blocks."""
        ...


class OutOfBudget(Exception):  # noqa: N818 - a normal end, not an error
    """The next rung would cost more than the budget has left."""


def clustered_mean(values: Floats, prompts: Sequence[str]) -> Floats:
    """The mean over prompts of each prompt's mean: [..., blocks] -> [...]."""
    labels, index = np.unique(np.asarray(prompts), return_inverse=True)
    member = index[None, :] == np.arange(len(labels))[:, None]
    weights: Floats = (member / member.sum(axis=1, keepdims=True)).mean(axis=0)
    result: Floats = values @ weights
    return result


def rungs(start: int, top: int, eta: float) -> list[int]:
    """Block counts of a race: 4, 8, 16, 32 for start 4, top 32, eta 2."""
    counts, count = [], float(min(start, top))
    while round(count) < top:
        counts.append(round(count))
        count = max(count * eta, count + 1)
    return [*counts, top]


def comparable(values: Floats) -> tuple[Indices, Indices]:
    """Recipes that can be compared and the blocks that all of them have: [objectives, recipes, n].

    Failed cells are never averaged away: a recipe that failed on more than a quarter of the
    blocks is left out, and so is the one with most failures for as long as the others share
    fewer than half of the blocks.
    """
    have: Flags = np.asarray(np.isfinite(values).all(axis=0))
    inside = np.flatnonzero(have.mean(axis=1) >= 1 - MOST_FAILED)
    while len(inside) and have[inside].all(axis=0).sum() < have.shape[1] / 2:
        inside = np.delete(inside, np.argmin(have[inside].sum(axis=1)))
    return inside, np.flatnonzero(have[inside].all(axis=0))


def ranked(ids: Sequence[str], blocks: int, scores: Scores) -> list[str]:
    """The recipes from best to worst, compared on blocks that every one of them has."""
    values = scores.matrix(ids, blocks)
    inside, common = comparable(values)
    if not len(inside):
        return []
    names = [scores.prompts(blocks)[i] for i in common]
    means = clustered_mean(values[:, inside][:, :, common], names)
    fronts = front_numbers(means) if len(means) > 1 else np.zeros(len(inside), dtype=np.intp)
    order = np.lexsort((np.arange(len(inside)), -means[0], fronts))
    return [ids[inside[i]] for i in order]


def front_numbers(means: Floats) -> Indices:
    """Non-dominated front of each recipe, 0 is the best (Deb et al. 2002): [objectives, n]."""
    better: Flags = np.asarray((means[:, :, None] >= means[:, None, :]).all(axis=0))
    strictly: Flags = np.asarray((means[:, :, None] > means[:, None, :]).any(axis=0))
    dominates: Flags = better & strictly
    fronts = np.full(means.shape[1], -1, dtype=np.intp)
    left = np.ones(means.shape[1], dtype=bool)
    front = 0
    while left.any():
        free = left & ~dominates[left].any(axis=0)
        fronts[free] = front
        left &= ~free
        front += 1
    return fronts


@dataclass(frozen=True)
class Entrant:
    """A recipe in a race and, for Optuna's pruner, its trial."""

    recipe_id: str
    trial: Any = None
