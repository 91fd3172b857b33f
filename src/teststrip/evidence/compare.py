"""One recipe against another on the blocks that both have.

Three tests on the same prompt means: the paired t test decides (its size holds from 4 prompts on,
see benchmarks/evidence/calibration.py); Wilcoxon's signed ranks and the sign-flip permutation
test stand beside it, for scores whose differences are far from normal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from teststrip.errors import ConfigError
from teststrip.evidence.grid import Floats, Grid
from teststrip.evidence.interval import SEED, Interval, effect_sizes, holm, interval, p_value
from teststrip.evidence.ranking import verdict_of

EXACT = 14  # units: all 2^14 sign patterns are tried
FLIPS = 20_000  # sign patterns drawn beyond that


@dataclass(frozen=True)
class Comparison:
    """`a` against `b`, positive favours `a`; the unit is the prompt mean.

    `gain`: mean paired difference with its interval (studentised bootstrap by prompt). `p_t`,
    `p_wilcoxon`, `p_permutation`: two-sided p values of the paired t test, Wilcoxon's signed-rank
    test and the sign-flip permutation test on prompt means; `p_holm`: `p_t` after Holm's correction
    over `family` comparisons. `effect_size`: mean over standard deviation of the prompt means
    (Cohen's d_z), None without spread. `wins`: share of common blocks on which `a` is ahead, ties
    half. `loses_on`: prompts on which it is behind. `verdict`: see `ranking`.
    """

    a: str
    b: str
    images: int
    prompts: int
    gain: Interval
    p_t: float
    p_wilcoxon: float
    p_permutation: float
    p_holm: float
    family: int
    effect_size: float | None
    wins: float | None
    loses_on: int
    verdict: str


def compare(
    grid: Grid,
    a: str,
    b: str,
    confidence: float = 0.95,
    family_p: Sequence[float] | None = None,
) -> Comparison:
    """`a` against `b`. `family_p`: `p_t` of the family's *other* comparisons, for Holm.

    Raises ConfigError for a recipe that is not in the grid.
    """
    units = _units(grid, a, b)
    p = np.array([p_value(units), *(family_p or ())])
    return _comparison(grid, a, b, confidence, p_holm=float(holm(p)[0]), family=len(p))


def against(
    grid: Grid, ids: Sequence[str], reference: str, confidence: float = 0.95
) -> tuple[Comparison, ...]:
    """Each of `ids` against `reference`, Holm-corrected over them. Order kept.

    Raises ConfigError for a recipe that is not in the grid.
    """
    others = [name for name in ids if name != reference]
    p = holm(np.array([p_value(_units(grid, name, reference)) for name in others]))
    return tuple(
        _comparison(grid, name, reference, confidence, p_holm=float(p_holm), family=len(others))
        for name, p_holm in zip(others, p, strict=True)
    )


def permutation_p(units: Floats) -> float:
    """Two-sided p of the sign-flip test on the mean: exact up to 14 units, else by fixed draws."""
    count = len(units)
    if count < 2 or not units.any():
        return 1.0
    exact = count <= EXACT
    if exact:
        signs = 1.0 - 2.0 * ((np.arange(2**count)[:, None] >> np.arange(count)) & 1)
    else:
        signs = np.random.default_rng([SEED, count]).choice([-1.0, 1.0], size=(FLIPS, count))
    observed = abs(float(units.sum()))
    reached = int((np.abs(signs @ units) >= observed * (1 - 1e-12)).sum())
    return reached / len(signs) if exact else (reached + 1) / (FLIPS + 1)


def wilcoxon_p(units: Floats) -> float:
    """Two-sided p of Wilcoxon's signed-rank test; units of 0 are left out."""
    from scipy import stats

    moved = units[units != 0]
    if len(moved) < 2:
        return 1.0
    ranks = np.abs(moved)
    exact = len(moved) <= EXACT or (len(np.unique(ranks)) == len(ranks) and len(moved) <= 50)
    if exact and len(np.unique(ranks)) < len(ranks):  # scipy's exact table knows no ties
        rank = stats.rankdata(ranks)
        return permutation_p(np.where(moved > 0, rank, -rank))
    return float(stats.wilcoxon(moved, method="exact" if exact else "asymptotic").pvalue)


def _difference(grid: Grid, a: str, b: str) -> Floats:
    """[B]: `a` less `b`, positive where `a` is better, NaN where one has no score."""
    missing = [name for name in (a, b) if name not in grid.recipes]
    if missing:
        raise ConfigError(
            f"recipe {missing[0]!r} has no images here; known are {len(grid.recipes)} recipes: "
            + ", ".join(grid.recipes[:8])
        )
    i, j = grid.recipes.index(a), grid.recipes.index(b)
    difference: Floats = grid.sign * (grid.values[i] - grid.values[j])
    return difference


def _units(grid: Grid, a: str, b: str) -> Floats:
    return grid.units(_difference(grid, a, b))


def _comparison(
    grid: Grid, a: str, b: str, confidence: float, *, p_holm: float, family: int
) -> Comparison:
    difference = _difference(grid, a, b)
    units = grid.units(difference)
    gain = interval(units, confidence)
    both = difference[np.isfinite(difference)]
    prompts = grid.prompt_means(difference)
    prompts = prompts[np.isfinite(prompts)]
    return Comparison(
        a=a,
        b=b,
        images=len(both),
        prompts=len(prompts),
        gain=gain,
        p_t=p_value(units),
        p_wilcoxon=wilcoxon_p(units),
        p_permutation=permutation_p(units),
        p_holm=p_holm,
        family=family,
        effect_size=effect_sizes(units[None])[0],
        wins=float(((both > 0) + 0.5 * (both == 0)).mean()) if len(both) else None,
        loses_on=int((prompts < 0).sum()),
        verdict=verdict_of(gain, p_holm, 1 - confidence),
    )
