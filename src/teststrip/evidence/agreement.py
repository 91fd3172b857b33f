"""Do the scorers agree with each other, and which one agrees with people?

Correlations are worked out on the blocks that the recipes share (`Grid.complete_part`), so that
every scorer judges the same images. Their intervals resample whole prompts. A resample ranks noise
a second time, which pulls a correlation towards 0 and a percentile interval with it; so only its
spread is used, on Fisher's z scale, with Student's t for few prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from teststrip.evidence.eyes import by_eye, judged
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Bools, Floats, Grid, Ints
from teststrip.evidence.interval import Interval, resampled_means
from teststrip.evidence.numbers import count, percent
from teststrip.evidence.people import Vote
from teststrip.evidence.table import score_columns

if TYPE_CHECKING:
    import pandas as pd

RANKED_AT_ONCE = 600_000  # recipes x resamples
LEAST_COVERED = 0.75  # a scorer that judged fewer of the shared images is not correlated
LEAST_OF_A_RECIPE = 0.5  # a recipe with fewer of them is left out
LEAST_RECIPES = 3


@dataclass(frozen=True)
class Pair:
    """Two scores, both turned so that higher is better.

    `recipes`: Spearman's rank correlation of the recipes' means on the complete part; `images`: of
    single images after each block's mean is taken off (so that easy prompts count for nothing).
    `recipes` is of the means over as many prompts as there were: luck in them pulls it towards 0,
    and endless prompts would give a correlation further from 0 than the interval may say.
    Intervals by prompt; NaN with no units where there is no correlation (see `Agreement.note`).
    `same_winner`: both crown the same recipe.
    """

    first: str
    second: str
    recipes: Interval
    images: Interval
    same_winner: bool


@dataclass(frozen=True)
class Scorer:
    """One score. `constant`: it never differs, so it can say nothing. `leader`: recipe it crowns.

    `leader` is the best mean on the blocks that the recipes share (the study's own winner may have
    been shown more). `with_votes`: share of people's decided pairs in which the picture they chose
    scores higher, ties half, with its interval by prompt; None without such votes or if constant.
    `votes`: pairs behind that.
    """

    column: str
    constant: bool
    leader: str | None
    with_votes: Interval | None
    votes: int


@dataclass(frozen=True)
class Agreement:
    """All scores of the table, the objective first; `pairs` of those that are not constant.

    The pairs rest on `images` images that all of those scorers judged, of `recipes` recipes on
    `blocks` shared blocks of `prompts` prompts. `by_eye`: which scorer
    agrees with people, a sentence, empty without votes.
    """

    scorers: tuple[Scorer, ...]
    pairs: tuple[Pair, ...]
    note: str
    by_eye: str = ""
    recipes: int = 0
    blocks: int = 0
    images: int = 0
    prompts: int = 0


@dataclass(frozen=True)
class _View:
    """One scorer's ranks, centred and of length 1: of recipes [R], resampled [D, R]; of images."""

    leader: int
    recipes: Floats
    drawn: Floats
    images: Floats


def agreement(
    table: "pd.DataFrame", facts: StudyFacts, grid: Grid, votes: Sequence[Vote] = ()
) -> Agreement:
    """How the table's scores agree, two by two, and each with people's votes."""
    others = [c for c in score_columns(table) if c != facts.objective]
    columns = [facts.objective, *others]
    values = _values(table, facts, grid, others)
    constant = {c: _is_constant(values[c][np.isfinite(values[c])]) for c in columns}
    moving = [c for c in columns if not constant[c]]
    able, recipes, blocks, cells = _shared_part(grid, values, moving)
    prompts = _renumbered(grid.prompt_index[blocks])
    views = {c: _view(values[c][np.ix_(recipes, blocks)], prompts, cells) for c in able}
    image_prompts = np.broadcast_to(prompts, cells.shape)[cells]
    pairs = tuple(
        _pair(a, b, views, image_prompts, facts.confidence)
        for i, a in enumerate(able)
        for b in able[i + 1 :]
    )
    eyes = {c: judged(table, c, _sign(facts, c), votes) for c in moving} if votes else {}
    scorers = tuple(
        Scorer(
            column=c,
            constant=constant[c],
            leader=grid.recipes[recipes[views[c].leader]] if c in views else None,
            with_votes=eyes[c].share(facts.confidence) if c in eyes and eyes[c].votes else None,
            votes=eyes[c].votes if c in eyes else 0,
        )
        for c in columns
    )
    unfit = [c for c in moving if c not in able] if able else []
    return Agreement(
        scorers=scorers,
        pairs=pairs,
        note=_note(
            [c for c in columns if constant[c]],
            unfit,
            able=len(able),
            moving=len(moving),
            recipes=len(recipes),
            prompts=prompts,
        ),
        by_eye=by_eye(eyes, facts.confidence) if votes else "",
        recipes=len(recipes),
        blocks=len(blocks),
        images=int(cells.sum()),
        prompts=len(np.unique(prompts)),
    )


def _sign(facts: StudyFacts, column: str) -> int:
    if column == facts.objective:
        return facts.sign
    return -1 if column in facts.lower_is_better else 1


def _values(
    table: "pd.DataFrame", facts: StudyFacts, grid: Grid, others: Sequence[str]
) -> dict[str, Floats]:
    """Each score as the grid's [R, B], higher is better, NaN where there is none."""
    import pandas as pd

    rows = table[table["split"] == "search"]
    i = pd.Index(grid.recipes).get_indexer(rows["recipe_id"])
    blocks = pd.MultiIndex.from_tuples(grid.blocks)
    j = blocks.get_indexer(pd.MultiIndex.from_frame(rows[["prompt_id", "seed"]]))
    inside = (i >= 0) & (j >= 0)
    found = {facts.objective: grid.sign * grid.values}
    for column in others:
        found[column] = np.full(grid.values.shape, np.nan)
        scores = rows[column].astype(float).to_numpy()
        found[column][i[inside], j[inside]] = _sign(facts, column) * scores[inside]
        found[column][~np.isfinite(found[column])] = np.nan
    return found


def _is_constant(values: Floats) -> bool:
    """No value, or none that differs from the others by more than rounding."""
    if not len(values):
        return True
    return bool(np.ptp(values) <= 1e-12 * np.abs(values).max())


def _shared_part(
    grid: Grid, values: dict[str, Floats], columns: Sequence[str]
) -> tuple[list[str], Ints, Ints, Bools]:
    """(scorers with enough values, recipes, blocks, cells that all of those scorers judged)."""
    recipes, blocks = grid.complete_part()
    known = {c: np.isfinite(values[c][np.ix_(recipes, blocks)]) for c in columns}
    able = [c for c in columns if known[c].size and known[c].mean() >= LEAST_COVERED]
    cells: Bools = np.ones((len(recipes), len(blocks)), dtype=bool)
    for column in able:
        cells &= known[column]
    kept = cells.mean(axis=1) >= LEAST_OF_A_RECIPE if cells.size else cells.any(axis=1)
    shown = cells[kept].sum(axis=0) > 1  # one recipe alone is no comparison
    cells = cells[np.ix_(kept, shown)]
    return able if cells.size else [], recipes[kept], blocks[shown], cells


def _renumbered(prompt_index: Ints) -> Ints:
    numbers: Ints = np.unique(prompt_index, return_inverse=True)[1]
    return numbers


def _view(values: Floats, prompts: Ints, cells: Bools) -> _View:
    """Ranks of a scorer on the shared `cells` [R, B]; `prompts` [B] are numbered from 0.

    Each block's mean is taken off first, so that a cell without a score moves no recipe's mean by
    how hard its block was. Where there is no such cell that changes no rank.
    """
    known = cells.astype(float)
    filled = np.where(cells, values, 0.0)
    off = np.where(cells, filled - filled.sum(axis=0) / known.sum(axis=0), 0.0)
    member = (prompts[:, None] == np.arange(prompts.max() + 1)).astype(float)
    shown = known @ member
    by_prompt = off @ member / np.maximum(shown, 1)
    there = (shown > 0).astype(float)
    means = by_prompt.sum(axis=1) / there.sum(axis=1)
    draws = int(np.clip(RANKED_AT_ONCE // len(values), 200, 1000))
    drawn = resampled_means(by_prompt.T, draws)
    if not there.all():
        drawn /= np.maximum(resampled_means(there.T, draws), 1e-300)
    return _View(
        leader=int(means.argmax()),
        recipes=_ranks(means),
        drawn=_ranks(drawn),
        images=_ranks(off[cells]),
    )


def _ranks(values: Floats) -> Floats:
    """Ranks along the last axis (ties share theirs), centred, of length 1; NaN if all are alike.

    Values are compared to 12 digits: what is the same but for rounding is a tie.
    """
    from scipy import stats

    size = np.abs(values).max(axis=-1, keepdims=True)
    near = np.round(values / np.where(size > 0, size, 1.0), 12)
    ranks = stats.rankdata(near, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=-1, keepdims=True))
    out: Floats = np.where(length > 0, ranks / np.where(length > 0, length, 1.0), np.nan)
    return out


def _pair(
    first: str, second: str, views: dict[str, _View], prompts: Ints, confidence: float
) -> Pair:
    a, b = views[first], views[second]
    count_of = int(prompts.max()) + 1
    recipes = images = Interval(float("nan"), None, None, 0)
    r = len(a.recipes)
    if r >= LEAST_RECIPES:
        drawn = (a.drawn * b.drawn).sum(axis=1)
        step = 12 / (r * (r * r - 1))  # Spearman's distance from 1 of the next best order
        recipes = _around(float(a.recipes @ b.recipes), drawn, step, count_of, confidence)
    if r > 1:
        images = _around(
            float(a.images @ b.images),
            _resampled_correlation(a.images, b.images, prompts),
            1 / len(a.images),
            count_of,
            confidence,
        )
    return Pair(first, second, recipes, images, same_winner=a.leader == b.leader)


def _resampled_correlation(x: Floats, y: Floats, prompts: Ints) -> Floats:
    """[D]: the correlation of image ranks [N] over resampled prompts, from sums by prompt."""
    terms = (np.ones_like(x), x, y, x * x, y * y, x * y)
    sums = np.stack([np.bincount(prompts, weights=t) for t in terms], axis=1).astype(float)
    n, sx, sy, xx, yy, xy = resampled_means(sums, 1000).T
    spread = np.maximum(xx - sx**2 / n, 0) * np.maximum(yy - sy**2 / n, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = (xy - sx * sy / n) / np.sqrt(spread)
    return np.where(spread > 0, found, np.nan)


def _around(rho: float, drawn: Floats, step: float, prompts: int, confidence: float) -> Interval:
    """Correlation with its interval: spread of Fisher's z over resamples, Student's t."""
    from scipy import stats

    if not np.isfinite(rho):
        return Interval(float("nan"), None, None, 0)
    alive = drawn[np.isfinite(drawn)]
    if prompts < 2 or len(alive) < 0.9 * len(drawn):
        return Interval(rho, None, None, prompts)
    end = 1 - min(step / 2, 0.5)  # z is infinite at 1: half a step before it will do
    z, around = np.arctanh(np.clip(rho, -end, end)), np.arctanh(np.clip(alive, -end, end))
    spread = float(around.std()) * (prompts / (prompts - 1)) ** 0.5
    reach = float(stats.t.ppf(0.5 + confidence / 2, prompts - 1)) * spread
    low, high = float(np.tanh(z - reach)), float(np.tanh(z + reach))
    return Interval(rho, min(low, rho), max(high, rho), prompts)


def _note(
    constant: Sequence[str],
    unfit: Sequence[str],
    *,
    able: int,
    moving: int,
    recipes: int,
    prompts: Ints,
) -> str:
    found = []
    if constant:
        verb = "never differs" if len(constant) == 1 else "never differ"
        found.append(f"{', '.join(constant)} {verb} on these images and can say nothing")
    if unfit:
        least = percent(LEAST_COVERED)
        found.append(f"{', '.join(unfit)}: on fewer than {least} of the shared images, left out")
    if able > 1 and recipes < LEAST_RECIPES:
        found.append(
            f"{count(recipes, 'recipe')} on shared blocks: a rank correlation of recipes needs "
            f"at least {LEAST_RECIPES}"
        )
    if able > 1 and len(np.unique(prompts)) == 1:
        found.append("One prompt: correlations have no interval")
    if not able and moving:
        found.append("No two recipes share enough blocks to compare scorers on")
    return ". ".join(found) + ("." if found else "")
