"""F-race: stop the recipes that a rank test finds worse than the best so far.

Birattari et al. 2002 (GECCO); López-Ibáñez et al. 2016 (irace, Operations Research Perspectives
3:43). After each block: Friedman's test over the survivors, and where it rejects, Conover's
comparisons with the best (Practical Nonparametric Statistics, 3rd ed., 5.8). Two survivors are
compared by Wilcoxon's signed ranks, as irace does. Its many looks inflate the error of the test, so
that what it says is a decision about cost and no evidence.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from teststrip.study.paired import Entrant, Flags, Floats, Scores, comparable

FEWEST_UNITS = 5


@dataclass
class FRace:
    """Friedman's test after every block from `start` on, at level `p`; survivors run to `top`.

    Its units are prompt means once prompts repeat, else blocks; below five there is no test.
    Fewer than `keep` never survive. Where few are left they advance by several blocks at a time,
    so that about `ask` images are made together. In a later wave the survivors of earlier ones
    are in the test but are not dropped: they have been through all blocks (irace's elite).
    """

    scores: Scores
    top: int
    start: int = 5
    p: float = 0.05
    keep: int = 3
    ask: int = 8
    reached: dict[str, int] = field(default_factory=dict)
    elite: list[str] = field(default_factory=list)
    first_wave = None

    def run(self, wave: Sequence[Entrant], also: Mapping[str, int] | None = None) -> None:
        """Race a wave; `also` is made in the same breath as the first blocks (the baseline)."""
        alive = [e.recipe_id for e in wave]
        blocks = min(max(self.start, FEWEST_UNITS), self.top)
        while alive:
            self.scores.fetch(dict.fromkeys(alive, blocks) | dict(also or {}))
            self.reached.update(dict.fromkeys(alive, blocks))
            if blocks == self.top:
                break
            left = self.survivors([*self.elite, *alive], blocks)
            alive = [i for i in alive if i in left]
            also = {}
            blocks = min(self.top, blocks + max(1, self.ask // max(len(alive), 1)))
        self.elite += alive

    def survivors(self, ids: Sequence[str], blocks: int) -> set[str]:
        """Those of `ids` that the test cannot tell from the best on the first blocks."""
        values = self.scores.matrix(ids, blocks)[:1]
        inside, common = comparable(values)
        if not len(inside):
            return set()
        prompts = self.scores.prompts(blocks)
        units = unit_means(values[0][np.ix_(inside, common)], [prompts[i] for i in common])
        worse = worse_than_best(units, self.p)
        order = np.argsort(-units.mean(axis=1), kind="stable")
        worse[order[: self.keep]] = False
        return {ids[inside[i]] for i in np.flatnonzero(~worse)}


def unit_means(values: Floats, prompts: Sequence[str]) -> Floats:
    """Each prompt's mean: [recipes, blocks] -> [recipes, prompts]."""
    labels, index = np.unique(np.asarray(prompts), return_inverse=True)
    member: Floats = (index[:, None] == np.arange(len(labels))[None, :]).astype(float)
    units: Floats = (values @ member) / member.sum(axis=0)
    return units


def worse_than_best(units: Floats, p: float) -> Flags:
    """Which recipes are worse than the best at level `p`: [recipes, units], higher is better.

    None, where there are fewer than five units, or where all recipes are equal.
    """
    count, n = units.shape
    none: Flags = np.zeros(count, dtype=bool)
    if n < FEWEST_UNITS or count < 2:
        return none
    if count == 2:
        return _signed_ranks(units, p)
    from scipy import stats

    statistic, ranks = friedman(units)
    if not statistic or stats.chi2.sf(statistic, count - 1) >= p:
        return none
    sums = ranks.sum(axis=1)
    spread = (ranks**2).sum() - n * count * (count + 1) ** 2 / 4
    freedom = (n - 1) * (count - 1)
    left = max(0.0, 1 - statistic / (n * (count - 1)))
    least = stats.t.isf(p / 2, freedom) * math.sqrt(2 * n * spread * left / freedom)
    worse: Flags = np.asarray(sums.max() - sums > least + 1e-9)
    return worse


def friedman(units: Floats) -> tuple[float, Floats]:
    """Friedman's statistic, corrected for ties, and the ranks within each unit.

    0 where all recipes are equal on every unit: then there is nothing to test.
    """
    from scipy import stats

    count, n = units.shape
    ranks: Floats = np.asarray(stats.rankdata(units, axis=0), dtype=float)
    middle = (count + 1) / 2
    spread = float((ranks**2).sum() - n * count * middle**2)
    if spread <= 0:
        return 0.0, ranks
    between = float(((ranks.sum(axis=1) - n * middle) ** 2).sum())
    return (count - 1) * between / spread, ranks


def _signed_ranks(units: Floats, p: float) -> Flags:
    from scipy import stats

    gains = units[0] - units[1]
    gains = gains[gains != 0]
    worse: Flags = np.zeros(2, dtype=bool)
    if len(gains) < FEWEST_UNITS:
        return worse
    if stats.wilcoxon(gains).pvalue < p:
        ranks = stats.rankdata(np.abs(gains)) * np.sign(gains)
        worse[1 if ranks.sum() > 0 else 0] = True
    return worse
