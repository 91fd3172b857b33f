"""May importance be computed at all, and which parameters did a design fail to keep apart?"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from teststrip.evidence.anova import Piece
from teststrip.evidence.crossed import full_grid
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.numbers import percent
from teststrip.evidence.searched import DUMMY, Searched, is_number, show_key
from teststrip.evidence.terms import LEAST_LEFT, MOST_LEVELS, Basis

LEAST_RECIPES = 8
MOST_WORDS = 100
APART = 0.5  # a parameter that the others imitate more than this is named
UNEVEN = 0.01
MIXED = 0.3
FULL_GRID = "Nobody stated how recipes were chosen; they are a full grid of the settings."
NEARLY_GRID = "Nobody stated how recipes were chosen; they are nearly a full grid of the settings."
SCREEN = (
    "teststrip study run {source} --set name=screen --set design.kind=sobol "
    "--set design.trials=64 --set race.kind=none --set 'space.dummy_a={{float: [0, 1]}}'"
)


def command(facts: StudyFacts) -> str:
    """The command line of a screening study."""
    return SCREEN.format(source=facts.source or "STUDY.yaml")


def refusal(part: Searched, facts: StudyFacts) -> str:
    """Why there is no importance to compute, whatever the columns; empty where there is."""
    how = f" A screening study says what matters: {command(facts)}"
    if facts.is_adaptive:
        return (
            f"The sampler ({facts.design}) chose recipes by earlier scores, and where it crowds, "
            f"whatever it crowded around looks important.{how}"
        )
    if part.recipes < LEAST_RECIPES and full_grid(part) is None:
        return (
            f"{part.recipes} recipes were shown the same blocks; at least {LEAST_RECIPES} are "
            f"needed to tell their settings apart.{how}"
        )
    if not part.cells:
        return f"No setting has more than one value among the {part.recipes} recipes.{how}"
    for field, cells in part.cells.items():
        words = len({show_key(c) for c in cells if not is_number(c)})
        if words > MOST_WORDS:
            return (
                f"{field} has {words} values that are no numbers; up to {MOST_WORDS} can be "
                f"compared.{how}"
            )
    if np.ptp(part.lead.mean(axis=1)) <= 1e-12 * max(1.0, float(np.abs(part.lead).max())):
        return "All recipes have the same mean score, so there is nothing to explain."
    return ""


def too_few(found: Sequence[Basis], part: Searched, facts: StudyFacts) -> str:
    """Refuse where parameters leave no degrees of freedom for the noise."""
    used = sum(b.df for b in found)
    if part.recipes - 1 - used >= LEAST_LEFT:
        return ""
    largest = max(found, key=lambda b: b.df)
    return (
        f"{part.recipes} recipes are too few for {len(found)} parameters, which take {used} "
        f"degrees of freedom ({largest.field} alone {largest.df}): at least "
        f"{used + 1 + LEAST_LEFT} recipes are needed. "
        f"A screening study says what matters: {command(facts)}"
    )


def judged(part: Searched, parts: Mapping[str, Piece], facts: StudyFacts) -> tuple[str, str]:
    """(why it is refused, note) for a table whose design nobody stated; both empty if stated.

    A full grid is accepted. So is anything that is as even and as well mixed as recipes drawn at
    random: every value about as frequent as the others (chi squared; for many values, evenly
    spread on a linear or log scale by Kolmogorov and Smirnov), no parameter imitated by others.
    """
    if facts.design:
        return "", ""
    solid = {f: c for f, c in part.cells.items() if not f.startswith(DUMMY)}
    keys = [[show_key(v) for v in values] for values in solid.values()]
    combinations = len(set(zip(*keys, strict=True)))
    if combinations == part.recipes and combinations >= 0.9 * np.prod(
        [float(len(set(k))) for k in keys]
    ):
        return "", NEARLY_GRID
    uneven = [f for f, c in part.cells.items() if _p_even(c) < UNEVEN / len(part.cells)]
    mixed = [f for f, one in parts.items() if _adjusted(one) > MIXED]
    if not uneven and not mixed:
        return "", (
            "Nobody stated how recipes were chosen; their settings are as even and as well mixed "
            "as in a random design, so they are taken as one."
        )
    why = []
    if uneven:
        why.append(f"values crowd ({', '.join(uneven)})")
    if mixed:
        why.append(f"settings changed together ({', '.join(mixed)})")
    return (
        "Nobody stated how recipes were chosen, and they are no even design: "
        f"{' and '.join(why)}. A screening study says what matters: {command(facts)}"
    ), ""


def ties(parts: Mapping[str, Piece]) -> tuple[str, ...]:
    """A note for each parameter that others can imitate."""
    return tuple(
        f"{field} changed together with other settings ({percent(one.overlap)} of its variation): "
        "part of its effect cannot be told from theirs."
        for field, one in parts.items()
        if _adjusted(one) > APART
    )


def _adjusted(one: Piece) -> float:
    """The overlap beyond what random columns of that number have."""
    recipes, rest = one.columns.shape[0], one.rest.shape[1]
    return 1 - (1 - one.overlap) * (recipes - 1) / max(recipes - 1 - rest, 1)


def _p_even(cells: Sequence[Any]) -> float:
    """p of "all values are equally likely"."""
    from scipy import stats

    keys = [show_key(c) for c in cells]
    names, counts = np.unique(keys, return_counts=True)
    if not all(is_number(c) for c in cells) or len(names) <= max(MOST_LEVELS, len(cells) // 8):
        return float(stats.chisquare(counts).pvalue)
    x = np.array([float(c) for c in cells])
    scales = [x, np.log(x)] if x.min() > 0 else [x]
    return max(float(stats.kstest((z - z.min()) / np.ptp(z), "uniform").pvalue) for z in scales)
