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
are for one recipe alone; where one holds 0 the verdict is *not distinguishable*, whatever p says.
A stopped recipe that the same test cannot call worse than the leader is
*not ruled out*: the race gave it up as the less promising, not as the worse one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.errors import ConfigError, StudyError
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Floats, Grid, Ints, build, levels
from teststrip.evidence.interval import Interval, effect_sizes, holm, intervals, p_values
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
    `effect_size`: mean over standard deviation of the units of `gain` (Cohen's d_z), None without.
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
    effect_size: float | None = None

    @property
    def stopped(self) -> bool:
        """The race left it behind."""
        return self.level > 0


@dataclass(frozen=True)
class Ranking:
    """All recipes from best to worst, and the names a report needs.

    `median` and `worst` are judged on the blocks that every recipe was shown (`common_blocks` of
    them); None where there are too few recipes. `not_ruled_out`: stopped recipes that may still be
    as good as the leader; the true best is in `best_set` or here in 95 % of studies.
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
    not_ruled_out: tuple[str, ...] = ()

    @cached_property
    def _row_of(self) -> dict[str, Ranked]:
        return {row.recipe_id: row for row in self.rows}

    def row(self, recipe_id: str) -> Ranked:
        """One recipe's row. Raises KeyError for an unknown id."""
        return self._row_of[recipe_id]

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
    gains = _units(grid, grid.sign * (grid.values - grid.values[reference]))
    means = _row_means(gains)
    best = reference if baseline is None else _first(grid, level, means)
    lags = gains
    if best != reference:
        lags = _units(grid, grid.sign * (grid.values - grid.values[best]))

    usable, number = grid.usable, np.arange(len(means))
    family = np.flatnonzero(usable & (number != reference))
    alpha = 1 - facts.confidence
    p = p_values(gains)
    p_holm = np.ones(len(p))
    if baseline is None:  # the leader was picked by the data: see best set
        p_holm[family] = np.minimum(p[family] * max(len(family), 1), 1.0)
    else:
        p_holm[family] = holm(p[family])
    behind = (_row_means(lags) < 0) & (p_values(lags) / 2 < alpha / max(len(family), 1))
    as_good = usable & ((number == best) | ~behind)
    finalist = usable & (level == 0)
    gain = intervals(gains, facts.confidence)
    verdict = _verdicts(grid, gain, p_holm, alpha)
    verdict[reference] = REFERENCE

    settings = settings_of(table, facts.varied or varied_fields(table))
    seconds = _seconds(table)
    origin = float(np.nanmean(grid.prompt_means(grid.values[reference])))
    own = intervals(_units(grid, grid.values), facts.confidence)
    lag = gain if best == reference else intervals(lags, facts.confidence)
    size = effect_sizes(gains)
    wins, passes = _wins(grid, reference), _passes(grid, facts.threshold)
    images = grid.have.sum(axis=1).tolist()
    failed = (grid.tried & ~grid.have).sum(axis=1).tolist()
    prompts = np.isfinite(grid.prompt_means(grid.values)).sum(axis=1).tolist()
    order = np.lexsort((number, -means, number != best, level, ~usable)).tolist()
    rows = tuple(
        Ranked(
            recipe_id=grid.recipes[i],
            settings=settings[grid.recipes[i]],
            level=int(level[i]),
            images=images[i],
            prompts=prompts[i],
            failed=failed[i],
            mean=own[i],
            gain=gain[i],
            lag=lag[i],
            adjusted=origin + grid.sign * gain[i].mean,
            p=float(p[i]),
            p_holm=float(p_holm[i]),
            verdict=verdict[i],
            in_best_set=bool(as_good[i] and finalist[i]),
            wins=wins[i],
            passes=passes[i],
            seconds=seconds.get(grid.recipes[i]),
            effect_size=size[i],
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
        finalists=int(finalist.sum()),
        common_blocks=len(blocks),
        comparisons=len(family),
        confidence=facts.confidence,
        prompts=len(grid.prompt_ids),
        not_ruled_out=tuple(grid.recipes[i] for i in order if as_good[i] and not finalist[i]),
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


def _levels(grid: Grid, baseline: int | None) -> Ints:
    """How far each raced. The baseline runs as far as anybody needs it, so it sets no level."""
    counts, usable = grid.tried.sum(axis=1).tolist(), grid.usable
    others = [c for i, c in enumerate(counts) if i != baseline and usable[i]]
    if baseline is not None and others:
        counts[baseline] = min(counts[baseline], max(others))
    top = max(others, default=max(counts))
    return np.array(levels([min(count, top) for count in counts]), dtype=np.intp)


def _leader(grid: Grid, level: Ints) -> int:
    """The best of those that ran furthest, on the blocks that all of them share."""
    inside = np.flatnonzero((level == 0) & grid.usable)
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


def _first(grid: Grid, level: Ints, means: Floats) -> int:
    return int(np.lexsort((-means, level, ~grid.usable))[0])


def _units(grid: Grid, values: Floats) -> Floats:
    """[R, B] -> [R, U]: each row's `grid.units`, in order, NaN where it has fewer."""
    means = grid.prompt_means(values)
    alone = np.isfinite(means).sum(axis=1) < 2
    if not alone.any():
        return means
    out = np.full((len(values), max(values.shape[1], means.shape[1])), np.nan)
    out[~alone, : means.shape[1]] = means[~alone]
    out[alone, : values.shape[1]] = values[alone]
    return out


def _row_means(units: Floats) -> Floats:
    """The mean of each row's units; -inf where there are none."""
    known = np.isfinite(units)
    count = known.sum(axis=1)
    total = np.where(known, units, 0.0).sum(axis=1)
    out: Floats = np.where(count > 0, total / np.maximum(count, 1), -np.inf)
    return out


def _verdicts(grid: Grid, gain: Sequence[Interval], p: Floats, alpha: float) -> list[str]:
    found = [verdict_of(g, float(q), alpha) for g, q in zip(gain, p, strict=True)]
    return [word if fine else FAILED for word, fine in zip(found, grid.usable, strict=True)]


def verdict_of(gain: Interval, p: float, alpha: float) -> str:
    """Better or worse only where the test and the interval say so (on few, skewed units the
    studentised bootstrap is more careful than t), so that no verdict contradicts its interval."""
    if gain.low is None or gain.high is None:
        return ALONE
    if p >= alpha or gain.low <= 0 <= gain.high:
        return UNCLEAR
    return BETTER if gain.mean > 0 else WORSE


def _wins(grid: Grid, reference: int) -> list[float | None]:
    difference = grid.sign * (grid.values - grid.values[reference])
    both = np.isfinite(difference).sum(axis=1)
    ahead = (difference > 0).sum(axis=1) + 0.5 * (difference == 0).sum(axis=1)
    return [
        float(won / count) if count and i != reference else None
        for i, (won, count) in enumerate(zip(ahead, both, strict=True))
    ]


def _passes(grid: Grid, threshold: float | None) -> list[float | None]:
    if threshold is None:
        return [None] * len(grid.recipes)
    reached = (grid.sign * grid.values >= grid.sign * threshold).sum(axis=1)
    own = grid.have.sum(axis=1)
    return [
        float(good / count) if count else None for good, count in zip(reached, own, strict=True)
    ]


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
