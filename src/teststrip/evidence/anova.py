"""Type II analysis of variance over recipes: sums of squares, shares, and their intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from teststrip.evidence.grid import Floats

SMALL = 1e-6
SEED = 20_261_121
DRAWS = 500
DAMPED = 0.3


@dataclass(frozen=True)
class Piece:
    """One term after all that it is adjusted for.

    `columns` [R, k]: as given, orthonormal. `rest` [R, p]: what it is adjusted for, orthonormal.
    `own` [R, df]: its columns without what the rest can imitate, orthonormal. `overlap`: the share
    of its columns that the rest can imitate, 0 to 1.
    """

    own: Floats
    rest: Floats
    columns: Floats
    overlap: float

    @property
    def df(self) -> int:
        """Degrees of freedom that are its own."""
        return self.own.shape[1]

    @property
    def noise_df(self) -> int:
        """What is left for the noise."""
        return len(self.own) - 1 - self.rest.shape[1] - self.df


def piece(columns: Floats, rest: Floats) -> Piece:
    """`columns` [R, df] orthonormal; `rest` [R, p]: an orthonormal basis of all others."""
    left = columns - rest @ (rest.T @ columns)
    u, s, _ = np.linalg.svd(left, full_matrices=False)
    own = u[:, s > SMALL]
    return Piece(own, rest, columns, 1.0 - float((s**2).mean()) if len(s) else 1.0)


def span(columns: Sequence[Floats], recipes: int) -> Floats:
    """An orthonormal basis [R, p] of everything in `columns`."""
    if not columns:
        return np.zeros((recipes, 0))
    u, s, _ = np.linalg.svd(np.hstack(columns), full_matrices=False)
    return np.asarray(u[:, s > SMALL * max(float(s[0]), 1.0)])


def pieces(columns: Sequence[Floats]) -> list[Piece]:
    """Each term after all the others (type II sums of squares, as there is nothing above it)."""
    recipes = len(columns[0])
    return [
        piece(own, span([c for k, c in enumerate(columns) if k != j], recipes))
        for j, own in enumerate(columns)
    ]


def partial(part: Piece, responses: Floats) -> tuple[Floats, Floats]:
    """(sum of squares, what remains besides it) of a term, for responses [..., R] of mean 0."""
    total = (responses**2).sum(axis=-1) - ((responses @ part.rest) ** 2).sum(axis=-1)
    squares: Floats = ((responses @ part.own) ** 2).sum(axis=-1)
    return squares, np.maximum(total - squares, 0.0)


def share(part: Piece, responses: Floats) -> Floats:
    """Epsilon squared: a term's share of the variance of `responses` [..., R], noise taken off.

    May be below 0 by chance, as its mean is 0 for a term that does nothing.
    """
    squares, left = partial(part, responses)
    total = (responses**2).sum(axis=-1)
    return np.asarray(
        (squares - part.df * left / max(part.noise_df, 1)) / np.maximum(total, 1e-300)
    )


def share_of_ratio(part: Piece, response: Floats, ratio: float) -> float:
    """The share of a term that takes `ratio` of what its rest leaves of `response` [R]."""
    squares, left = partial(part, response)
    freedom = part.df * (1 - ratio) / max(part.noise_df, 1)
    return float((squares + left) * (ratio - freedom) / (response**2).sum())


def ratio(part: Piece, response: Floats) -> float:
    """Partial R squared of a term: rises with its F, so it ranks permutations the same."""
    squares, left = partial(part, response)
    return float(squares) / max(float(squares + left), 1e-300)


def share_interval(part: Piece, lead: Floats, confidence: float) -> tuple[float, float] | None:
    """Bounds of a term's share over other prompts like these; `lead` [R, U], None for U = 1.

    A bootstrap over the U prompts, damped: recipes' means of resampled prompts hold the noise of
    the prompts once more, so that shares of the plain bootstrap are too small (its percentile
    interval covered 72 to 88 % for a nominal 95 %). So weights go only part of the way from equal
    to resampled; their spread, scaled back, is taken on the scale asin(sqrt(R squared)), where it
    does not depend on the share, with Student's t for U - 1 degrees of freedom: 93 to 97 %
    for 4 to 32 prompts, normal and heavy tails (benchmarks/evidence/importance.py).
    """
    observed = lead.mean(axis=1)
    _, left = partial(part, observed)
    offset = float(part.df * left / max(part.noise_df, 1)) / float((observed**2).sum())
    return damped_interval(
        lambda weights: share(part, weights @ lead.T) + offset, lead.shape[1], offset, confidence
    )


def damped_interval(
    r_squared: Callable[[Floats], Floats], units: int, noise: float, confidence: float
) -> tuple[float, float] | None:
    """Bounds of a share, `noise` taken off it; None for one unit. See `share_interval`.

    `r_squared` of weights [n, units] of the prompts is the share [n], its noise still in it.
    """
    from scipy import stats

    if units < 2:
        return None
    spread = float(_angle(r_squared(_damped(units))).std()) / DAMPED * (units / (units - 1)) ** 0.5
    half = float(stats.t.ppf(0.5 + confidence / 2, units - 1)) * spread
    middle = float(_angle(r_squared(np.full((1, units), 1 / units)))[0])
    low, high = np.sin(np.clip([middle - half, middle + half], 0.0, np.pi / 2)) ** 2 - noise
    return float(np.clip(low, 0.0, 1.0)), float(np.clip(high, 0.0, 1.0))


def _angle(r_squared: Floats) -> Floats:
    return np.asarray(np.arcsin(np.sqrt(np.clip(r_squared, 0.0, 1.0))))


@lru_cache(maxsize=8)
def _damped(units: int) -> Floats:
    """[DRAWS, units]: weights of the prompts, part of the way from equal to resampled."""
    rng = np.random.default_rng([SEED, units])
    drawn = rng.multinomial(units, np.full(units, 1 / units), size=DRAWS) / units
    return np.asarray(1 / units + DAMPED * (drawn - 1 / units))
