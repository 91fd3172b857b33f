"""Who is best, who is better than the baseline, who cannot be told apart.

The rule. Every recipe is compared with one *reference* (the baseline, or the leader where there
is none) on the blocks that both have: the difference of scores block by block, averaged within
each prompt; the prompt means are the independent units. Recipes are ordered first by how far they
raced, then by that mean difference. What was stopped early stands below what went on, whatever
its few images say.

The verdict against the baseline is a paired t test on prompt means, Holm-corrected over all
recipes (family-wise 5 %), so the recipe that leads by chance is not called better. The *best set*
holds the finalists that are not significantly worse than the leader; since any recipe could have
come out as leader, each is tested at 5 % / (recipes - 1) (Bonferroni), so that a finalist that is
as good as any is in the set in 95 % of studies. (Counting finalists only left it out in 7.5 % of
simulated races without any difference, since the race had picked who is a finalist.) Intervals
are for one recipe alone.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.errors import ConfigError, StudyError
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Floats, Grid, Ints, build, levels
from teststrip.evidence.interval import Interval, holm, interval, p_value
from teststrip.evidence.numbers import Numbers
from teststrip.evidence.table import settings_of, varied_fields

if TYPE_CHECKING:
    import pandas as pd

BETTER, WORSE, UNCLEAR = "better", "worse", "not distinguishable"
REFERENCE, FAILED, ALONE = "reference", "failed too often", "too few images"


@dataclass(frozen=True)
class Ranked:
    """One recipe's place.

    `gain`: mean paired difference to the reference, positive is better, in units of the score.
    `lag`: the same to the leader (negative is worse). `mean`: raw score over its own blocks, for
    itself only, never to compare. `adjusted`: the reference's mean plus `gain` in raw units, which
    may be compared. `wins`: share of common blocks on which it beats the reference, ties half.
    `passes`: share of its images that reach the study's threshold. `level`: 0 ran furthest.
    """

    recipe_id: str
    settings: dict[str, Any]
    level: int
    images: int
    prompts: int
    failed: int
    mean: Interval
    gain: Interval
    lag: Interval
    adjusted: float
    p: float
    p_holm: float
    verdict: str
    in_best_set: bool
    wins: float | None
    passes: float | None
    seconds: float | None

    @property
    def stopped(self) -> bool:
        """The race left it behind."""
        return self.level > 0


@dataclass(frozen=True)
class Ranking:
    """All recipes from best to worst, and the names a report needs.

    `median` and `worst` are judged on the blocks that every recipe was shown (`common_blocks` of
    them); None where there are too few recipes.
    """

    rows: tuple[Ranked, ...]
    reference: str
    baseline: str | None
    best: str
    median: str | None
    worst: str | None
    best_set: tuple[str, ...]
    finalists: int
    common_blocks: int
    comparisons: int
    confidence: float
    prompts: int

    def row(self, recipe_id: str) -> Ranked:
        """One recipe's row. Raises KeyError for an unknown id."""
        return next(row for row in self.rows if row.recipe_id == recipe_id)

    @property
    def numbers(self) -> Numbers:
        """How this study's scores are written: by the finalists' intervals."""
        far = [r.gain for r in self.rows if not r.stopped and r.gain.units]
        return Numbers.of(far if len(far) > 1 else [r.mean for r in self.rows])

    @property
    def better(self) -> tuple[Ranked, ...]:
        """The recipes that are better than the baseline (none where there is no baseline)."""
        return tuple(r for r in self.rows if self.baseline and r.verdict == BETTER)


def rank(table: "pd.DataFrame", facts: StudyFacts, grid: Grid | None = None) -> Ranking:
    """Rank a study's recipes on its search images (see the head of this file).

    `table` as `evidence.table.checked` returns it, `grid` its grid if it is built already. Raises
    StudyError where no image has a score, ConfigError where the baseline is not in the table.
    """
    grid = grid or build(table, facts)
    baseline = _baseline_index(grid, table, facts)
    level = _levels(grid, baseline)
    if not grid.usable.any():
        raise StudyError(
            f"study {facts.name!r}: every recipe failed on more than a quarter of its images; "
            "see the table's `reason`, mend the cause, then resume the study"
        )
    reference = _leader(grid, level) if baseline is None else baseline
    gains = [_units(grid, i, reference) for i in range(len(grid.recipes))]
    means = np.array([u.mean() if len(u) else -np.inf for u in gains])
    best = reference if baseline is None else _first(grid, level, means)
    lags = gains if best == reference else [_units(grid, i, best) for i in range(len(means))]

    family = [i for i in range(len(means)) if grid.usable[i] and i != reference]
    finalists = [i for i in range(len(means)) if grid.usable[i] and level[i] == 0]
    alpha = 1 - facts.confidence
    p = np.array([p_value(u) for u in gains])
    p_holm = np.ones(len(p))
    if baseline is None:  # the leader was picked by the data: see best set
        p_holm[family] = np.minimum(p[family] * max(len(family), 1), 1.0)
    else:
        p_holm[family] = holm(p[family])
    best_set = {
        i for i in finalists if i == best or not _below(lags[i], alpha / max(len(family), 1))
    }
    fields = facts.varied or varied_fields(table)
    settings = settings_of(table, fields)
    seconds = _seconds(table)
    origin = float(np.nanmean(grid.prompt_means(grid.values[reference])))

    order = sorted(
        range(len(means)), key=lambda i: (not grid.usable[i], level[i], i != best, -means[i], i)
    )
    rows = tuple(
        Ranked(
            recipe_id=grid.recipes[i],
            settings=settings[grid.recipes[i]],
            level=level[i],
            images=int(grid.have[i].sum()),
            prompts=len(set(grid.prompt_index[grid.have[i]].tolist())),
            failed=int((grid.tried[i] & ~grid.have[i]).sum()),
            mean=interval(grid.units(grid.values[i]), facts.confidence),
            gain=interval(gains[i], facts.confidence),
            lag=interval(lags[i], facts.confidence),
            adjusted=origin + grid.sign * float(gains[i].mean()) if len(gains[i]) else np.nan,
            p=float(p[i]),
            p_holm=float(p_holm[i]),
            verdict=REFERENCE
            if i == reference
            else _verdict(grid, i, gains[i], float(p_holm[i]), alpha),
            in_best_set=i in best_set,
            wins=_wins(grid, i, reference),
            passes=_passes(grid, i, facts.threshold),
            seconds=seconds.get(grid.recipes[i]),
        )
        for i in order
    )
    common, blocks = grid.complete_part()
    median, worst = _median_and_worst(grid, common, blocks)
    return Ranking(
        rows=rows,
        reference=grid.recipes[reference],
        baseline=None if baseline is None else grid.recipes[baseline],
        best=grid.recipes[best],
        median=median,
        worst=worst,
        best_set=tuple(row.recipe_id for row in rows if row.in_best_set),
        finalists=len(finalists),
        common_blocks=len(blocks),
        comparisons=len(family),
        confidence=facts.confidence,
        prompts=len(grid.prompt_ids),
    )


def _baseline_index(grid: Grid, table: "pd.DataFrame", facts: StudyFacts) -> int | None:
    """None where there is none, or where it failed so often that nothing can be held against it."""
    if facts.baseline is None:
        return None
    if facts.baseline not in grid.recipes:
        known = ", ".join(grid.recipes[:8]) + (", ..." if len(grid.recipes) > 8 else "")
        raise ConfigError(
            f"baseline {facts.baseline!r} is not in the table; recipes there: {known}"
        )
    index = grid.recipes.index(facts.baseline)
    return index if grid.usable[index] else None


def _levels(grid: Grid, baseline: int | None) -> list[int]:
    """How far each raced. The baseline runs as far as anybody needs it, so it sets no level."""
    counts = grid.tried.sum(axis=1).tolist()
    others = [c for i, c in enumerate(counts) if i != baseline and grid.usable[i]]
    if baseline is not None and others:
        counts[baseline] = min(counts[baseline], max(others))
    top = max(others, default=max(counts))
    return levels([min(count, top) for count in counts])


def _leader(grid: Grid, level: list[int]) -> int:
    """The best of those that ran furthest, on the blocks that all of them share."""
    inside = np.array([i for i, n in enumerate(level) if n == 0 and grid.usable[i]], dtype=np.intp)
    recipes, blocks = grid.without_holes(inside, np.flatnonzero(grid.tried[inside].any(axis=0)))
    if not len(recipes) or not len(blocks):
        recipes, blocks = inside, np.arange(len(grid.blocks))
    means = _means(grid, recipes, blocks)
    return int(recipes[int(np.argmax(means))])


def _means(grid: Grid, recipes: Ints, blocks: Ints) -> Floats:
    """The mean of prompt means over some blocks, higher is better: [len(recipes)]."""
    values = np.full((len(recipes), len(grid.blocks)), np.nan)
    values[:, blocks] = grid.sign * grid.values[np.ix_(recipes, blocks)]
    means: Floats = np.nanmean(grid.prompt_means(values), axis=1)
    return means


def _first(grid: Grid, level: list[int], means: Floats) -> int:
    usable = [i for i in range(len(means)) if grid.usable[i]]
    return min(usable, key=lambda i: (level[i], -means[i], i))


def _units(grid: Grid, i: int, reference: int) -> Floats:
    """Independent units of the paired difference, positive where `i` is better."""
    return grid.units(grid.sign * (grid.values[i] - grid.values[reference]))


def _below(units: Floats, alpha: float) -> bool:
    """Significantly below 0, one-sided."""
    return bool(len(units) and units.mean() < 0 and p_value(units) / 2 < alpha)


def _verdict(grid: Grid, i: int, units: Floats, p: float, alpha: float) -> str:
    if not grid.usable[i]:
        return FAILED
    if len(units) < 2:
        return ALONE
    if p >= alpha:
        return UNCLEAR
    return BETTER if units.mean() > 0 else WORSE


def _wins(grid: Grid, i: int, reference: int) -> float | None:
    difference = grid.sign * (grid.values[i] - grid.values[reference])
    both = difference[np.isfinite(difference)]
    if i == reference or not len(both):
        return None
    return float(((both > 0) + 0.5 * (both == 0)).mean())


def _passes(grid: Grid, i: int, threshold: float | None) -> float | None:
    own = grid.values[i][grid.have[i]]
    if threshold is None or not len(own):
        return None
    return float((grid.sign * own >= grid.sign * threshold).mean())


def _seconds(table: "pd.DataFrame") -> dict[str, float]:
    """Mean seconds of a search image, by recipe, over the images that were made."""
    rows = table[table["split"] == "search"]
    made = rows[(rows["status"] == "ok") & rows["seconds"].notna()]
    means = made.groupby("recipe_id")["seconds"].mean()
    return {str(name): float(value) for name, value in means.items()}


def _median_and_worst(grid: Grid, recipes: Ints, blocks: Ints) -> tuple[str | None, str | None]:
    if len(recipes) < 3 or not len(blocks):
        return None, None
    order = recipes[np.argsort(_means(grid, recipes, blocks), kind="stable")]
    return grid.recipes[order[len(order) // 2]], grid.recipes[order[0]]
