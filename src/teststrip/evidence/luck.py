"""What one image per setting would have picked: the X/Y plot's answer, computed from the study.

On the blocks that every recipe was shown, each single block is taken as if it were the whole
experiment. Its winner is then judged by the other blocks.
"""

from dataclasses import dataclass

import numpy as np

from teststrip.evidence.grid import Grid
from teststrip.evidence.ranking import Ranking


@dataclass(frozen=True)
class Luck:
    """The luck of one image per setting, over `blocks` single-block experiments.

    `picks_best`, `picks_best_set`: share of experiments whose winner is the study's best recipe,
    or one of its best set (ties count in part). `by_chance`: the share that drawing a recipe
    blindly would give. `winners`: how many different recipes won. `overstated`: the winner's lead
    over the block's mean, less its mean lead on the other blocks, in units of the score; None
    with one block. `loses_to_baseline`: share of experiments whose winner is behind the baseline
    on the other blocks; None without baseline or with one block.
    """

    blocks: int
    recipes: int
    picks_best: float
    picks_best_set: float
    by_chance: float
    winners: int
    overstated: float | None
    loses_to_baseline: float | None


def luck(grid: Grid, ranking: Ranking) -> Luck | None:
    """None where fewer than two recipes share a block."""
    recipes, blocks = grid.complete_part()
    if len(recipes) < 2 or not len(blocks):
        return None
    values = grid.sign * grid.values[np.ix_(recipes, blocks)]
    names = [grid.recipes[i] for i in recipes]
    lead = values - values.mean(axis=0)
    wins = values == values.max(axis=0)
    share = wins / wins.sum(axis=0)  # a tie is drawn by lot
    best = np.array([name == ranking.best for name in names])
    best_set = np.array([name in ranking.best_set for name in names])
    overstated = loses = None
    if len(blocks) > 1:
        elsewhere = (lead.sum(axis=1, keepdims=True) - lead) / (len(blocks) - 1)
        overstated = float((share * (lead - elsewhere)).sum(axis=0).mean())
        if ranking.baseline in names:
            behind = elsewhere < elsewhere[names.index(ranking.baseline)]
            loses = float((share * behind).sum(axis=0).mean())
    return Luck(
        blocks=len(blocks),
        recipes=len(recipes),
        picks_best=float(share[best].sum() / len(blocks)),
        picks_best_set=float(share[best_set].sum() / len(blocks)),
        by_chance=1 / len(recipes),
        winners=int(wins.any(axis=1).sum()),
        overstated=overstated,
        loses_to_baseline=loses,
    )
