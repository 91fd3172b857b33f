"""Shares of variance: how much of a score is recipe, prompt, seed, their interplay, the rest.

Recipe, recipe x prompt and residual are those of the mixed model (`mixed`). Prompt and seed come
from its estimated block effects, whose error covariance C is known:

    beta_b = mu + prompt + seed within prompt + error,  error ~ N(0, C),

fitted by REML once more. On a table without holes both steps give the estimators of the balanced
analysis of variance wherever these are not negative. Intervals are credible intervals with flat
priors on the standard deviations, as in `mixed`; that of the blocks falls beyond three times the
spread of their effects, where two prompts would leave it improper. They are widened where recipes
scatter unequally (`_wider`).
"""

from dataclasses import dataclass

import numpy as np

from teststrip.evidence import mixed, posterior
from teststrip.evidence.grid import Floats, Grid
from teststrip.evidence.interval import SEED
from teststrip.evidence.mixed import Fit

NODES = 24  # of the posterior of prompt and seed, for each standard deviation
FEW_NODES = 12  # from 100 blocks on, where it is narrow
RECIPE, PROMPT, SEED_WITHIN, INTERACTION, RESIDUAL = (
    "recipe",
    "prompt",
    "seed",
    "recipe x prompt",
    "residual",
)
PROMPT_AND_SEED, MERGED = "prompt and seed", "recipe x prompt and residual"


@dataclass(frozen=True)
class Share:
    """One source of variance. `share` of the total with its interval, 0 to 1.

    `source`: `recipe`, `prompt`, `seed` (within a prompt), `recipe x prompt`, `residual`; where the
    design cannot tell two of them apart they stand together: `prompt and seed`,
    `recipe x prompt and residual`.
    """

    source: str
    variance: float
    share: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Future:
    """What more images would buy: `half` is the half-width of the interval of one recipe's gain
    over another with `prompts` x `seeds` = `images` for each of the two."""

    prompts: int
    seeds: int
    images: int
    half: float


@dataclass(frozen=True)
class Variance:
    """Shares of variance, from `images` images of `recipes` recipes on `prompts` prompts.

    `now`: the design as it is; `futures`: more prompts, more seeds (first: 8 more prompts).
    `note` says what could not be told apart, or is empty.
    """

    shares: tuple[Share, ...]
    total: float
    images: int
    recipes: int
    prompts: int
    blocks: int
    now: Future | None
    futures: tuple[Future, ...]
    note: str


def decompose(grid: Grid, fit: Fit | None, confidence: float = 0.95) -> Variance | None:
    """Shares of the variance of one image's score. None where the model has nothing to fit."""
    if fit is None:
        return None
    split_seed = fit.prompts > 1 and len(fit.blocks) > fit.prompts
    names = [RECIPE]
    names += [PROMPT, SEED_WITHIN] if split_seed else []
    names += [] if split_seed else [SEED_WITHIN if fit.prompts == 1 else PROMPT_AND_SEED]
    names += [INTERACTION, RESIDUAL] if fit.splits_interaction else []
    names += [] if fit.splits_interaction else [RESIDUAL if fit.prompts == 1 else MERGED]
    blocks, block_draws = _blocks(fit, split_seed)
    own = np.array([fit.recipe, fit.interaction, fit.residual])
    inner = [1, 2] if fit.splits_interaction else [2]
    drawn = posterior.variances(fit)
    values = np.concatenate([own[:1], blocks, own[inner]])
    draws = np.column_stack([drawn[:, 0], block_draws, drawn[:, inner]])
    share, shares = values / values.sum(), draws / draws.sum(axis=1, keepdims=True)
    tail = (1 - confidence) / 2
    low, high = np.quantile(shares, [tail, 1 - tail], axis=0)
    low, high = _widened(share, low, high, _wider(fit, values, draws, inner))
    now, futures = _futures(fit, confidence)
    return Variance(
        shares=tuple(
            Share(name, float(v), float(s), float(min(below, s)), float(max(above, s)))
            for name, v, s, below, above in zip(names, values, share, low, high, strict=True)
        ),
        total=float(values.sum()),
        images=int(fit.cells.have.sum()),
        recipes=len(fit.recipes),
        prompts=fit.prompts,
        blocks=len(fit.blocks),
        now=now,
        futures=futures,
        note=_note(fit, split_seed),
    )


def half_width(fit: Fit, prompts: int, seeds: int, confidence: float = 0.95) -> float:
    """Half the interval of one recipe's gain over another: t(P - 1) sqrt(2 (s_w + s_e / S) / P)."""
    from scipy import stats

    t = float(stats.t.ppf(0.5 + confidence / 2, prompts - 1))
    return t * float(np.sqrt(2 * (fit.interaction + fit.residual / seeds) / prompts))


def _wider(fit: Fit, values: Floats, draws: Floats, inner: list[int]) -> Floats:
    """By how much to widen the interval of each share, at least 1.

    The posterior takes scores for normal and recipes for alike. Where tails are heavy or one
    recipe scatters more than another, the jackknife over recipes knows better how far the
    residual and recipe x prompt may be off: with the blocks' variances held, its standard
    deviation over the posterior's.
    """
    from scipy import stats

    out = np.ones(len(values))
    drawn = draws.copy()
    first = len(values) - len(inner)
    drawn[:, 1:first] = values[1:first]
    left_out = mixed.jackknife(fit)
    again = np.tile(values, (len(left_out), 1))
    again[:, 0], again[:, first:] = left_out[:, 0], left_out[:, inner]
    if len(again) < 3:
        return out
    model = (drawn / drawn.sum(axis=1, keepdims=True)).var(axis=0)
    groups = again / again.sum(axis=1, keepdims=True)
    found = groups.var(axis=0) * (len(groups) - 1)
    few = stats.t.ppf(0.975, len(groups) - 1) / stats.norm.ppf(0.975)
    wider = few * np.sqrt(found / np.maximum(model, 1e-300))
    out[first:] = np.maximum(wider[first:], 1.0)
    return out


def _widened(share: Floats, low: Floats, high: Floats, by: Floats) -> tuple[Floats, Floats]:
    """Intervals `by` times as wide on the scale of log odds, where shares at 0 stay at 0."""
    known = (by > 1) & (share > 0) & (share < 1)
    low, high = np.minimum(low, share), np.maximum(high, share)
    s, below, above = (np.clip(x[known], 1e-12, 1 - 1e-12) for x in (share, low, high))
    odds, by = s / (1 - s), by[known]
    under = odds * ((below / (1 - below)) / odds) ** by
    over = odds * ((above / (1 - above)) / odds) ** by
    low[known], high[known] = under / (1 + under), over / (1 + over)
    return low, high


def _futures(fit: Fit, confidence: float) -> tuple[Future | None, tuple[Future, ...]]:
    """One prompt says nothing of others. Where recipe x prompt and residual are one, so does one
    seed of two."""
    if fit.prompts < 2:
        return None, ()
    P, S = fit.prompts, max(1, round(len(fit.blocks) / fit.prompts))
    designs = [(P + 8, S), (2 * P, S)] + ([(P, 2 * S)] if fit.splits_interaction else [])
    now, *futures = (
        Future(p, s, p * s, half_width(fit, p, s, confidence))
        for p, s in dict.fromkeys([(P, S), *designs])
    )
    return now, tuple(futures)


def _note(fit: Fit, split_seed: bool) -> str:
    said = []
    if fit.prompts == 1:
        said.append(
            "One prompt: what a recipe is worth on this prompt only cannot be told from what it "
            "is worth in general, and nothing is known of other prompts."
        )
    elif not fit.splits_interaction:
        said.append(
            "No two recipes share two seeds of one prompt: recipe x prompt and residual cannot be "
            "told apart."
        )
    if fit.prompts > 1 and not split_seed:
        said.append("One seed per prompt: prompt and seed cannot be told apart.")
    return " ".join(said)


def _blocks(fit: Fit, split_seed: bool) -> tuple[Floats, Floats]:
    """(variances of prompt and seed, draws from their posterior [DRAWS, 2]); one of each where
    there is nothing to split."""
    within = np.eye(len(fit.beta))
    parts = [fit.some.same, within] if split_seed else [within]
    scale = float(np.std(fit.beta)) or fit.scale
    y, C = (fit.beta - fit.beta.mean()) / scale, fit.beta_covariance / scale**2
    mode = _reml(y, C, parts)
    return scale**2 * mode, scale**2 * _draw(y, C, parts, mode)


def _reml(y: Floats, C: Floats, parts: list[Floats]) -> Floats:
    """REML variances of y ~ N(mu, C + sum x_k parts_k), each at least 0."""
    from scipy.optimize import minimize

    def loss(x: Floats) -> tuple[float, Floats]:
        value, P, Py = _restricted(y, C, parts, x)
        slope = [0.5 * (float(Py @ part @ Py) - float((P * part).sum())) for part in parts]
        return -value, -np.array(slope)

    starts = [np.full(len(parts), share) for share in (0.02, 0.5)]
    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 300}
    found = [
        minimize(
            loss, start, jac=True, method="L-BFGS-B", bounds=[(0, 100)] * len(parts),
            options=options,
        )
        for start in starts
    ]  # fmt: skip
    best = min(found, key=lambda result: float(result.fun))
    out: Floats = best.x
    return out


def _restricted(
    y: Floats, C: Floats, parts: list[Floats], x: Floats
) -> tuple[float, Floats, Floats]:
    """(restricted log likelihood, projection P, P y)."""
    V = C + sum(float(v) * part for v, part in zip(x, parts, strict=True))
    inverse = np.linalg.inv(V)
    ones = inverse.sum(axis=0)
    P = inverse - np.outer(ones, ones) / ones.sum()
    Py = P @ y
    value = -0.5 * (float(np.linalg.slogdet(V)[1]) + float(np.log(ones.sum())) + float(y @ Py))
    return value, P, Py


def _log_prior(sd: Floats | float) -> float:
    """Of standard deviations in units of the block effects' spread."""
    return -float(np.log1p((np.asarray(sd) / 3) ** 2).sum())


def _draw(y: Floats, C: Floats, parts: list[Floats], mode: Floats) -> Floats:
    """Draws of the variances, flat in the standard deviations, from a grid of cells."""
    top = _restricted(y, C, parts, mode)[0]
    axes = []
    for k in range(len(parts)):

        def fall(sd: float, k: int = k) -> float:
            x = mode.copy()
            x[k] = sd**2
            return top - _restricted(y, C, parts, x)[0] - _log_prior(sd)

        here = float(np.sqrt(mode[k]))
        high, low = here + 0.1, here
        while fall(high) < 7 and high < 1e3:
            high = here + 1.5 * (high - here)
        while low > 0 and fall(low) < 7:
            low = max(here - 1.5 * max(here - low, 0.05), 0.0)
        axes.append(np.linspace(low, high, (NODES if len(y) < 100 else FEW_NODES) + 1))
    centres = [(edges[1:] + edges[:-1]) / 2 for edges in axes]
    nodes = np.stack(np.meshgrid(*centres, indexing="ij"), axis=-1).reshape(-1, len(parts))
    log_p = [_restricted(y, C, parts, node**2)[0] - top + _log_prior(node) for node in nodes]
    weights = np.exp(np.array(log_p))
    which = np.repeat(
        np.arange(len(nodes)), posterior.spread(weights / weights.sum(), posterior.DRAWS)
    )
    rng = np.random.default_rng([SEED, 3])
    rng.shuffle(which)  # independent of the draws of the other components
    step = np.array([edges[1] - edges[0] for edges in axes])
    sd = nodes[which] + rng.uniform(-0.5, 0.5, (len(which), len(parts))) * step
    out: Floats = sd**2
    return out
