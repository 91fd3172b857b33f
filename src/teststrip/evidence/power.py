"""How small a difference a design can tell, and how many prompts a difference needs.

The test is the one the report makes: a paired t test on prompt means. The main effects of prompt
and seed cancel in it, so a prompt's difference between two recipes has the variance
2 (interplay^2 + residual^2 / seeds), and prompts are its independent units. With more than one
comparison the first step of Holm's correction counts: alpha / comparisons, two-sided.
"""

import math
from dataclasses import dataclass

MOST_PROMPTS = 100_000


@dataclass(frozen=True)
class Spread:
    """Standard deviations, in units of the score, that decide how many images are needed.

    `interplay`: recipe x prompt; `residual`: what is left within recipe, prompt and seed. The main
    effects of prompt and seed cancel in paired comparisons. `source`: where they come from, in
    words (`study first`, or `assumed`). `unit`: what 1 is, empty for the score's own units.
    """

    interplay: float
    residual: float
    source: str
    unit: str = ""


# Before any image the units of a score are unknown, so the assumed spreads are shares of the
# standard deviation of single images. They are those that the racing rules were simulated with:
# recipe .25, prompt 1, seed .6, recipe x prompt .25, residual .5, in all sqrt(1.735) = 1.317.
ASSUMED_TOTAL = (0.25**2 + 1.0**2 + 0.6**2 + 0.25**2 + 0.5**2) ** 0.5
ASSUMED = Spread(
    interplay=0.25 / ASSUMED_TOTAL,
    residual=0.5 / ASSUMED_TOTAL,
    source="assumed: recipe x prompt 0.19, residual 0.38 of the SD of single images",
    unit="of the standard deviation (SD) of single images",
)


def sd_of_difference(spread: Spread, seeds: float) -> float:
    """Standard deviation of one prompt's mean difference between two recipes."""
    return float((2 * (spread.interplay**2 + spread.residual**2 / seeds)) ** 0.5)


def detectable(  # noqa: PLR0917 - the terms of a power calculation, in their usual order
    spread: Spread,
    prompts: int,
    seeds: float,
    comparisons: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
) -> float | None:
    """The smallest true difference that is found with this power; None below two prompts.

    `seeds` per prompt; where prompts have unequal numbers of them, their harmonic mean.
    """
    from scipy.optimize import brentq

    if prompts < 2:
        return None
    sd = sd_of_difference(spread, seeds)
    if sd <= 0:
        return 0.0
    critical = _critical(prompts, comparisons, alpha)
    high = critical + 3.0
    while _power(high, prompts, critical) < power:
        high *= 2
    shift = brentq(lambda d: _power(d, prompts, critical) - power, 0.0, high, xtol=1e-12)
    return float(shift * sd / prompts**0.5)


def prompts_needed(  # noqa: PLR0917 - as above
    difference: float,
    spread: Spread,
    seeds: float,
    comparisons: int = 1,
    power: float = 0.8,
    alpha: float = 0.05,
) -> int | None:
    """The fewest prompts that find `difference` with this power; None beyond 100,000."""

    def finds(prompts: int) -> bool:
        smallest = detectable(spread, prompts, seeds, comparisons, power, alpha)
        return smallest is not None and smallest <= abs(difference)

    if difference == 0 or not finds(MOST_PROMPTS):
        return None
    too_few, enough = 1, MOST_PROMPTS
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if finds(middle) else (middle, enough)
    return enough


def _critical(prompts: int, comparisons: int, alpha: float) -> float:
    from scipy import stats

    return float(stats.t.isf(alpha / max(comparisons, 1) / 2, prompts - 1))


def _power(shift: float, prompts: int, critical: float) -> float:
    """Power of the two-sided t test where the mean lies `shift` standard errors from 0."""
    from scipy import stats

    above = float(stats.nct.sf(critical, prompts - 1, shift))
    below = float(stats.nct.cdf(-critical, prompts - 1, shift))
    return above + (0.0 if math.isnan(below) else below)  # scipy: NaN where it is below 1e-10
