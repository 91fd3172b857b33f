"""One recipe against another on the blocks that both have."""

from dataclasses import dataclass

from teststrip.evidence.interval import Interval


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
