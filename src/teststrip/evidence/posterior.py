"""Draws from the posterior of the mixed model: which recipe is truly the best, and by how much.

Given the two ratios, everything is Gaussian and in closed form: s_e is scaled inverse chi-square,
the block effects have covariance s_e M^-1, and given these each recipe's u is independent of the
others. So a draw costs one product [R, B] x [B], and the uncertainty of the variances and of the
block effects is in it. The same draws always.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from teststrip.evidence.grid import Floats, Ints
from teststrip.evidence.interval import SEED
from teststrip.evidence.mixed import MOST_BLOCKS, Fit

DRAWS = 2000
FEW = 16  # nodes of the posterior that are drawn from where there are many blocks
NUMBERS = 20_000_000  # in memory at once: 80 MB; more than 10,000 recipes get fewer draws
CHUNK = 4_000_000


@dataclass(frozen=True)
class Effects:
    """`p_best` [R]: share of draws in which a recipe is the best of all, ties shared.

    `mean` [R]: posterior mean of u; `draws` [R, D]: of u, over `scale`. Higher is better.
    """

    p_best: Floats
    mean: Floats
    draws: NDArray[np.float32]
    scale: float

    def gains(self, rows: Sequence[int], reference: int) -> tuple[Floats, Floats]:
        """(posterior mean [n], draws [n, D]) of u less that of the reference, in score units."""
        kept = np.array(rows, dtype=np.intp)
        draws = self.draws[kept].astype(float) - self.draws[reference]
        return self.mean[kept] - self.mean[reference], self.scale * draws


_known: WeakKeyDictionary[Fit, Effects] = WeakKeyDictionary()


def effects(fit: Fit) -> Effects:
    """The posterior of all recipes, worked out once for a fit."""
    if fit not in _known:
        _known[fit] = _effects(fit)
    return _known[fit]


def variances(fit: Fit, draws: int = DRAWS) -> Floats:
    """[draws, 3]: s_u, s_w, s_e from their posterior, in squared units of the score."""
    rng = np.random.default_rng([SEED, 2])
    found = fit.posterior
    node = np.repeat(np.arange(len(found.weights)), spread(found.weights, draws))
    between = rng.uniform(-0.5, 0.5, (draws, 2)) * found.step[node]
    ratios = np.abs(found.ratios[node] + between)
    s_e = fit.scale**2 * found.Q[node] / rng.chisquare(found.degrees, draws)
    return np.column_stack([ratios[:, 0] ** 2 * s_e, ratios[:, 1] ** 2 * s_e, s_e])


def spread(weights: Floats, total: int) -> Ints:
    """Whole numbers in proportion to the weights that add up to `total` (largest remainders)."""
    exact = weights * total
    number = np.floor(exact).astype(np.intp)
    left = total - int(number.sum())
    number[np.argsort(number - exact, kind="stable")[:left]] += 1
    return number


def _effects(fit: Fit) -> Effects:
    rng = np.random.default_rng([SEED, 1])
    found, R = fit.posterior, len(fit.recipes)
    total = max(200, min(DRAWS, NUMBERS // R))
    chunk = max(1, CHUNK // R)
    draws = np.empty((R, total), dtype=np.float32)
    best, mean, done = np.zeros(R), np.zeros(R), 0
    which = fit.cells.patterns[1]
    weights = found.weights
    if len(fit.blocks) > MOST_BLOCKS:
        weights = spread(weights, FEW) / FEW
    number = spread(weights, total)
    for (a, c), weight, count in zip(found.ratios, weights, number, strict=True):
        if not count:
            continue
        point = fit.cells.at(float(a) ** 2, float(c) ** 2)
        mean += weight * point.shrink * point.rest
        for part in range(0, int(count), chunk):
            size = min(int(count) - part, chunk)
            s_e = point.Q / rng.chisquare(fit.cells.degrees, size)
            noise = rng.standard_normal((len(fit.blocks), size))
            beta = np.linalg.solve(point.root.T, noise) * np.sqrt(s_e)
            u = point.rest[:, None] - (point.D @ beta)[which]
            u *= point.shrink[:, None]
            u += rng.standard_normal((R, size)) * np.sqrt(point.shrink[:, None] * s_e)
            first = u == u.max(axis=0)
            best += (first / first.sum(axis=0)).sum(axis=1)
            draws[:, done : done + size] = u
            done += size
    mean *= fit.scale / weights[number > 0].sum()
    return Effects(best / total, mean, draws, fit.scale)
