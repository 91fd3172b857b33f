"""How consistently good a recipe is: P(best), lower bound, worst tenth, pass rate, prompts lost.

What describes one recipe alone (lower bound, worst tenth, pass rate) is worked out on the blocks
that *all* listed recipes share, so that these numbers may be held against each other.

The pass rate's interval is Clopper & Pearson's with the effective number of images (Korn &
Graubard 1998): images of one prompt are alike, so 32 of them on 8 prompts count as fewer. Where
all or none pass, the data show no likeness to measure, and only the prompts are counted.

The mixed model takes all recipes to scatter alike. Where a recipe's own differences scatter more,
the credible interval of its gain is widened: the pair's variance and the model's are averaged,
the model's counting as 10 degrees of freedom (a moderated variance: Smyth 2004). In simulated
studies whose recipes scatter up to 3 times as much as others this raises the winner's coverage from
93 to 94 %, and leaves 95 % elsewhere (benchmarks/evidence/calibration.py).
"""

from dataclasses import dataclass

import numpy as np

from teststrip.evidence import posterior
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.grid import Floats, Grid, Ints
from teststrip.evidence.interval import Interval, interval, resampling
from teststrip.evidence.mixed import Fit
from teststrip.evidence.ranking import FAILED, Ranking

MOST = 50  # recipes that are described
TENTH = 0.1
MODEL_COUNTS = 10  # degrees of freedom of the model's variance beside a pair's own
DRAWS = 1000  # resamples of prompts for the worst tenth


@dataclass(frozen=True)
class Standing:
    """What else is known of one recipe, beside its place in the ranking.

    `p_best`: probability that it is the best of all recipes of the study, over prompts in general
    (posterior of the mixed model; over all recipes it adds up to 1), None where two recipes or two
    blocks are missing to tell. `gain`: its advantage over the reference, shrunk by the mixed
    model, which takes the winner's curse off, with its credible interval; positive is good, None
    for the reference. `lower`: the bad end of the interval of its mean score, in raw units.
    `worst_tenth`: the score that its worst 10 % of images do not reach (raw units), by
    prompt-bootstrap interval (by images where there is one prompt). `passes`: share of images that
    reach the study's threshold with its interval; None without threshold. `loses_on`: prompts on
    which its mean is behind the reference's, of `prompts` shared. `images`, `prompts` stand behind
    all of it but `p_best` and `gain`, which use every image of the study; they are 0, and the rest
    is empty, where the recipe lacks so many blocks that too few would be left to all.
    """

    recipe_id: str
    p_best: float | None
    gain: Interval | None
    lower: float | None
    worst_tenth: Interval
    passes: Interval | None
    loses_on: int | None
    images: int
    prompts: int


def standings(
    grid: Grid, ranking: Ranking, facts: StudyFacts, fit: Fit | None, most: int = MOST
) -> dict[str, Standing]:
    """By recipe id, in the ranking's order: the recipes that ran furthest, and the baseline.

    At most `most` of them.
    """
    listed = _listed(ranking, most)
    row_of = {name: i for i, name in enumerate(grid.recipes)}
    rows = np.array([row_of[name] for name in listed], dtype=np.intp)
    reference = row_of[ranking.reference]
    shared = _shared(grid, rows, {row_of[ranking.best], reference})
    chances = p_best(fit)
    gains = _gains(grid, fit, listed, ranking.reference, facts.confidence)
    out = {}
    for name, i in zip(listed, rows, strict=True):
        blocks = shared if grid.have[i, shared].all() else shared[:0]
        own = grid.values[i, blocks]
        alone = np.full(len(grid.blocks), np.nan)
        alone[blocks] = own
        difference = grid.sign * (alone - grid.values[reference])
        behind = grid.prompt_means(difference)
        mean = interval(grid.units(alone), facts.confidence)
        out[name] = Standing(
            recipe_id=name,
            p_best=chances.get(name),
            gain=gains.get(name),
            lower=mean.low if grid.sign > 0 else mean.high,
            worst_tenth=worst_tenth(own, grid.prompt_index[blocks], grid.sign, facts.confidence),
            passes=None
            if facts.threshold is None or not len(blocks)
            else pass_rate(
                grid.sign * own >= grid.sign * facts.threshold,
                grid.prompt_index[blocks],
                facts.confidence,
            ),
            loses_on=None
            if name == ranking.reference or not len(blocks)
            else int(np.nansum(behind < 0)),
            images=len(blocks),
            prompts=len(set(grid.prompt_index[blocks].tolist())),
        )
    return out


def p_best(fit: Fit | None) -> dict[str, float]:
    """For every usable recipe, stopped ones too: the probability that it is truly the best.

    Empty where there is no fit.
    """
    if fit is None:
        return {}
    shares = posterior.effects(fit).p_best
    return dict(zip(fit.names, shares.tolist(), strict=True))


def p_best_elsewhere(ranking: Ranking, fit: Fit | None) -> float | None:
    """Probability that the race stopped the recipe that is truly the best; None without a fit."""
    if fit is None:
        return None
    chances = p_best(fit)
    return sum(chances.get(row.recipe_id, 0.0) for row in ranking.rows if row.stopped)


def worst_tenth(values: Floats, prompt: Ints, sign: int, confidence: float = 0.95) -> Interval:
    """The score that the worst 10 % do not reach, with a bootstrap interval over prompts.

    `values`, `prompt` [n]. With one prompt the images themselves are drawn again.
    """
    if not len(values):
        return Interval(float("nan"), None, None, 0)
    _, unit = np.unique(prompt, return_inverse=True)
    count = int(unit.max()) + 1
    if count == 1:
        unit, count = np.arange(len(values)), len(values)
    good = sign * values
    point = sign * float(np.quantile(good, TENTH))
    if count == 1:
        return Interval(point, None, None, 1)
    order = np.argsort(good, kind="stable")
    times = np.rint(resampling(count)[:DRAWS] * count)[:, unit[order]]
    drawn = sign * _weighted_quantile(good[order], times, TENTH)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Interval(point, float(min(low, point)), float(max(high, point)), count)


def pass_rate(passed: Floats, prompt: Ints, confidence: float = 0.95) -> Interval:
    """Share that passed, with an interval that knows the images of a prompt are alike."""
    from scipy import stats

    images = len(passed)
    if not images:
        return Interval(float("nan"), None, None, 0)
    hit = np.asarray(passed, dtype=float)
    _, unit = np.unique(prompt, return_inverse=True)
    size = np.bincount(unit).astype(float)
    prompts, p = len(size), float(hit.mean())
    tail = (1 - confidence) / 2
    effective = float(images)
    if prompts > 1:
        # ratio estimator: the mean's variance over prompts of unequal sizes
        off = np.bincount(unit, weights=hit - p)
        variance = prompts / (prompts - 1) * float((off**2).sum()) / images**2
        if variance > 0:
            ratio = stats.t.ppf(tail, images - 1) / stats.t.ppf(tail, prompts - 1)
            effective = min(p * (1 - p) / variance * float(ratio) ** 2, effective)
        else:
            effective = float(prompts)
    hits = p * effective
    low = float(stats.beta.ppf(tail, hits, effective - hits + 1)) if hits > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, effective - hits)) if p < 1 else 1.0
    return Interval(p, min(low, p), max(high, p), prompts if prompts > 1 else images)


def _listed(ranking: Ranking, most: int) -> list[str]:
    """The best, with a place kept for the baseline."""
    far = [row for row in ranking.rows if not row.stopped and row.images]
    names = [row.recipe_id for row in far if row.verdict != FAILED]
    names = [name for name in names if name != ranking.baseline]
    kept = names[: most - (ranking.baseline is not None)]
    if ranking.baseline is not None:
        kept.append(ranking.baseline)
    wanted = set(kept)
    return [row.recipe_id for row in ranking.rows if row.recipe_id in wanted]


def _shared(grid: Grid, rows: Ints, always: set[int]) -> Ints:
    """The blocks that the listed recipes share.

    Where failures leave less than half of them, the recipe with the most holes is not waited for,
    and so on; the best and the reference always are.
    """
    have, inside = grid.have, [int(i) for i in rows]
    enough = int(have[rows].any(axis=0).sum()) / 2
    while True:
        blocks = np.flatnonzero(have[inside].all(axis=0))
        others = [i for i in inside if i not in always]
        if len(blocks) >= enough or not others:
            return blocks
        inside.remove(min(others, key=lambda i: int(have[i].sum())))


def _gains(
    grid: Grid, fit: Fit | None, listed: list[str], reference: str, confidence: float
) -> dict[str, Interval]:
    """Shrunk advantages over the reference with credible intervals."""
    if fit is None:
        return {}
    row_of = {name: i for i, name in enumerate(fit.names)}
    names = [name for name in listed if name in row_of and name != reference]
    if reference not in row_of or not names:
        return {}
    found = posterior.effects(fit)
    means, draws = found.gains([row_of[n] for n in names], row_of[reference])
    tail = (1 - confidence) / 2
    low, high = np.quantile(draws, [tail, 1 - tail], axis=1)
    units = fit.prompts if fit.prompts > 1 else len(fit.blocks)
    other = grid.values[grid.recipes.index(reference)]
    out = {}
    for k, name in enumerate(names):
        own = grid.units(grid.values[grid.recipes.index(name)] - other)
        middle, wider = float(means[k]), _wider(fit, own)
        below, above = wider * (middle - float(low[k])), wider * (float(high[k]) - middle)
        out[name] = Interval(middle, middle - below, middle + above, units)
    return out


def _wider(fit: Fit, units: Floats) -> float:
    """How much wider the interval of a gain gets for the scatter of the pair's own units."""
    count, seeds = len(units), len(fit.blocks) / fit.prompts
    if count < 2 or fit.recipe == 0:
        return 1.0
    noise = fit.interaction + fit.residual / (seeds if fit.prompts > 1 else 1)
    between, error = 2 * fit.recipe, 2 * noise / count
    own = float(units.var(ddof=1)) / (2 * noise)
    ratio = max(1.0, (MODEL_COUNTS + (count - 1) * own) / (MODEL_COUNTS + count - 1))
    return float(np.sqrt((1 / between + 1 / error) / (1 / between + 1 / (error * ratio))))


def _weighted_quantile(ordered: Floats, times: Floats, share: float) -> Floats:
    """`np.quantile` of each multiset: `ordered` [n] ascending, `times` [D, n] how often -> [D]."""
    upto = np.cumsum(times, axis=1)
    place = share * (upto[:, -1] - 1)
    below = np.floor(place)
    last = len(ordered) - 1
    first = np.minimum((upto <= below[:, None]).sum(axis=1), last)
    second = np.minimum((upto <= below[:, None] + 1).sum(axis=1), last)
    part = place - below
    out: Floats = (1 - part) * ordered[first] + part * ordered[second]
    return out
