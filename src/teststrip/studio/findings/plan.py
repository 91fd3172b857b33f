"""What N prompts x S seeds could tell, from this study's own variances."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from teststrip.errors import ConfigError
from teststrip.evidence.advice import spread_of
from teststrip.evidence.power import Spread, detectable, prompts_needed

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

POWER = 0.8
MOST_PROMPTS, MOST_SEEDS, MOST_COMPARISONS = 10_000, 1000, 100_000


@dataclass(frozen=True)
class Design:
    """`smallest`: the true difference that 80 % of such studies find; None below two prompts.

    `images`: for one recipe. `seconds`: to make them, at the study's mean time; None if unknown.
    """

    prompts: int
    seeds: int
    images: int
    smallest: float | None
    seconds: float | None


@dataclass(frozen=True)
class Plan:
    """`asked`: the design of the form. `matrix`: rows of prompts, columns of `seeds`.

    `difference`: the one to find, with `needed` prompts (None: more than 100,000).
    """

    spread: Spread
    comparisons: int
    asked: Design
    seeds: tuple[int, ...]
    matrix: tuple[tuple[Design, ...], ...]
    difference: float | None
    needed: int | None


def plan(
    analysis: "Analysis",
    prompts: int | None,
    seeds: int | None,
    comparisons: int | None,
    difference: float | None,
) -> Plan | None:
    """None where the study's variances are unknown. What is None is taken as the study has it.

    Raises ConfigError with every number that is out of range.
    """
    spread, ranking = spread_of(analysis.variance), analysis.ranking
    _check(prompts, seeds, comparisons, difference)
    if spread is None:
        return None
    now = analysis.variance.now if analysis.variance else None
    prompts = prompts or max(ranking.prompts, 2)
    seeds = seeds or (max(now.seeds, 1) if now else 1)
    family = comparisons or max(ranking.comparisons, 1)
    known = [row.seconds for row in ranking.rows if row.seconds is not None]
    pace = sum(known) / len(known) if known else None

    def design(p: int, s: int) -> Design:
        images = p * s
        smallest = detectable(spread, p, s, family, POWER, 1 - ranking.confidence)
        return Design(p, s, images, smallest, pace * images if pace is not None else None)

    rows = sorted({max(prompts // 2, 2), prompts, 2 * prompts, 4 * prompts})
    columns = sorted({max(seeds // 2, 1), seeds, 2 * seeds, 4 * seeds})
    needed = None
    if difference:
        needed = prompts_needed(difference, spread, seeds, family, POWER, 1 - ranking.confidence)
    return Plan(
        spread=spread,
        comparisons=family,
        asked=design(prompts, seeds),
        seeds=tuple(columns),
        matrix=tuple(tuple(design(p, s) for s in columns) for p in rows),
        difference=difference,
        needed=needed,
    )


def _check(
    prompts: int | None, seeds: int | None, comparisons: int | None, difference: float | None
) -> None:
    faults = []
    for name, value, least, most in (
        ("prompts", prompts, 2, MOST_PROMPTS),
        ("seeds", seeds, 1, MOST_SEEDS),
        ("comparisons", comparisons, 1, MOST_COMPARISONS),
    ):
        if value is not None and not least <= value <= most:
            faults.append(f"{name} {value}: {least} to {most:,} are accepted")
    if difference is not None and not 0 < difference < 1e12:
        faults.append(f"difference {difference:g}: a number above 0 is accepted")
    if faults:
        raise ConfigError("this plan cannot be reckoned", faults)
