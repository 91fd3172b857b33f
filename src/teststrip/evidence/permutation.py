"""Null distributions by permutation: what a term reaches that has nothing to do with the scores."""

from collections.abc import Iterator, Sequence

import numpy as np

from teststrip.evidence import anova
from teststrip.evidence.anova import SEED, Piece
from teststrip.evidence.grid import Floats, Ints

MOST_PERMUTED = 6_000_000  # permutations x recipes
CHUNK = 2_000_000  # numbers in one gathered array


def null(pieces: Sequence[Piece], response: Floats, are_pairs: bool = False) -> Floats:
    """Partial R squared of each term under permutation, [terms, n]."""
    recipes = len(response)
    needed = 40 * len(pieces)  # so that the smallest p passes Holm's correction twice over
    most = max(MOST_PERMUTED // recipes, needed, 499)
    draws = min(max(100 * len(pieces), 999), most, 20_000)
    chunks = []
    for order in shuffles(draws, recipes, 1 if are_pairs else 4):
        if are_pairs:
            chunks.append(np.array(by_shuffled_residuals(pieces, response, order)))
        else:
            chunks.append(np.array([by_shuffled_columns(one, response, order) for one in pieces]))
    return np.concatenate(chunks, axis=1)


def p_values(pieces: Sequence[Piece], response: Floats, null: Floats) -> Floats:
    """[terms]: how often a permutation reaches what was observed (itself counted)."""
    ratios = np.array([anova.ratio(one, response) for one in pieces])
    p: Floats = (1 + (null >= ratios[:, None] - 1e-12).sum(axis=1)) / (null.shape[1] + 1)
    return p


def edge(null: Floats, level: float) -> float:
    """The value that is passed just where p <= `level`; `null` [n] of one term."""
    place = max(int(level * (len(null) + 1) + 1e-9), 1)
    return float(np.partition(null, -place)[-place])


def holm_levels(p: Floats, alpha: float) -> Floats:
    """The level at which Holm's procedure looks at each p; where it stops, the level stays."""
    order = np.argsort(p, kind="stable")
    levels = np.empty(len(p))
    stopped = None
    for rank, k in enumerate(order):
        level = alpha / (len(p) - rank) if stopped is None else stopped
        if stopped is None and p[k] > level:
            stopped = level
        levels[k] = level
    return levels


def shuffles(count: int, recipes: int, width: int) -> Iterator[Ints]:
    """`count` permutations [n, R] of the recipes in chunks, the same ones always."""
    rng = np.random.default_rng([SEED, recipes])
    base = np.arange(recipes, dtype=np.int32)
    step = max(1, CHUNK // (recipes * width))
    for start in range(0, count, step):
        n = min(step, count - start)
        yield rng.permuted(np.broadcast_to(base, (n, recipes)), axis=1)


def by_shuffled_columns(part: Piece, response: Floats, order: Ints) -> Floats:
    """Partial R squared [n] with the parameter's values dealt to other recipes.

    Draper and Stoneman (1966): exact where the values were chosen at random, whatever the noise.
    Where the design ties the parameter to others, dealing would break that tie: there the
    residuals are shuffled (`by_shuffled_residuals`).
    """
    if part.df < part.columns.shape[1]:
        return by_shuffled_residuals([part], response, order)[0]
    left = response - part.rest @ (part.rest.T @ response)
    known = np.column_stack([part.rest, left])
    dealt = part.columns.T[:, order]  # [df, n, R]
    seen = dealt @ known
    hit, tied = seen[..., -1].T, np.moveaxis(seen[..., :-1], 0, 1)  # [n, df], [n, df, p]
    gram = np.eye(part.df) - tied @ np.swapaxes(tied, 1, 2)
    gram += 1e-9 * np.eye(part.df)  # a shuffle may tie it by chance
    squares = (hit * np.linalg.solve(gram, hit[..., None])[..., 0]).sum(axis=1)
    return np.asarray(squares / (left**2).sum())


def by_shuffled_residuals(parts: Sequence[Piece], response: Floats, order: Ints) -> list[Floats]:
    """Partial R squared [n] of terms with one common rest: residuals of the rest are shuffled.

    Freedman and Lane (1983); see Winkler et al. (2014), NeuroImage 92:381, for its error rates.
    """
    rest = parts[0].rest
    left = response - rest @ (rest.T @ response)
    dealt = left[order]  # [n, R]
    ground = (left**2).sum() - ((dealt @ rest) ** 2).sum(axis=1)
    return [((dealt @ part.own) ** 2).sum(axis=1) / ground for part in parts]
