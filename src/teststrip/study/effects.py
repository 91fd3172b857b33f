"""What recipes are worth when some have many blocks and others few: a two-level normal model.

    score = block + recipe + recipe x prompt + residual

Blocks are fixed (any level will do), the other three normal with unknown variances. Estimates are
shrunk towards the mean of all recipes (BLUP; Henderson 1975, Biometrics 31:423), the more the fewer
blocks a recipe has seen, so that luck on two blocks does not look like quality. Cells that are
missing because a race stopped bias nothing here: what decided it is in the data (Rubin 1976).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from teststrip.study.paired import Flags, Floats

RECIPE_TO_NOISE = np.geomspace(0.03, 9.0, 7)  # variance of recipes / variance within a recipe
PROMPT_SHARE = {0.05: 0.25, 0.2: 0.5, 0.5: 0.25}  # recipe x prompt / within: prior weights


@dataclass(frozen=True)
class Variances:
    """Of recipes, recipe x prompt, and the residual."""

    recipe: float
    taste: float
    residual: float

    def over(self, prompts: Sequence[str]) -> Floats:
        """Covariance of one recipe's scores on blocks with these prompts."""
        labels = np.asarray(prompts)
        same = labels[:, None] == labels[None, :]
        matrix: Floats = self.recipe + self.taste * same + self.residual * np.eye(len(labels))
        return matrix

    def left_at(self, prompts: Sequence[str]) -> float:
        """Variance of a recipe's true value once these blocks are known."""
        return self.recipe - self.recipe**2 * float(np.linalg.inv(self.over(prompts)).sum())


@dataclass(frozen=True)
class Effects:
    """`mean` and `variance` of each recipe's value, and `pull`: how block errors carry over.

    The blocks' own levels are known up to an error with covariance `blocks`; a recipe's value
    moves by `-pull @ error`.
    """

    mean: Floats
    variance: Floats
    pull: Floats
    blocks: Floats


def estimate(values: Floats, prompts: Sequence[str], variances: Variances) -> Effects:
    """Fit given variances. `values` [recipes, blocks]: NaN where missing, no block without any."""
    count, blocks = values.shape
    known = Known(values, prompts, variances)
    spread: Floats = np.linalg.inv(known.precision).astype(float)
    level = spread @ known.pulled
    pull = np.zeros((count, blocks))
    variance = np.full(count, variances.recipe)
    for rows, columns, inverse in known.groups:
        weight = variances.recipe * inverse.sum(axis=0)
        pull[np.ix_(rows, columns)] = weight
        variance[rows] -= variances.recipe * weight.sum()
    gains = np.where(np.isfinite(values), values - level, 0.0)
    mean: Floats = (gains * pull).sum(axis=1)
    return Effects(mean, np.maximum(variance, 0.0), pull, spread)


class Known:
    """Sums over recipes, in groups that have the same cells."""

    def __init__(self, values: Floats, prompts: Sequence[str], variances: Variances) -> None:
        have: Flags = np.asarray(np.isfinite(values))
        whole = variances.over(prompts)
        self.precision = np.zeros_like(whole)
        self.pulled = np.zeros(len(whole))
        self.squares = 0.0
        self.log_det = 0.0
        self.groups = []
        patterns, group_of = np.unique(have, axis=0, return_inverse=True)
        for i, pattern in enumerate(patterns):
            columns = np.flatnonzero(pattern)
            rows = np.flatnonzero(group_of.ravel() == i)
            if not len(columns):
                continue
            part = whole[np.ix_(columns, columns)]
            inverse = np.linalg.inv(part)
            own = values[np.ix_(rows, columns)]
            self.groups.append((rows, columns, inverse))
            self.precision[np.ix_(columns, columns)] += len(rows) * inverse
            self.pulled[columns] += inverse @ own.sum(axis=0)
            self.squares += float(np.einsum("ib,bc,ic->", own, inverse, own))
            self.log_det += len(rows) * float(np.linalg.slogdet(part)[1])


def fit_variances(values: Floats, prompts: Sequence[str]) -> Variances:
    """Restricted likelihood on a coarse grid of ratios, averaged over the grid.

    Averaging and the prior on recipe x prompt keep the answer sane where the data say little: as
    long as every prompt has one block, recipe x prompt and residual cannot be told apart.
    """
    unit = float(np.nanstd(values)) or 1.0
    values = (values - np.nanmean(values)) / unit
    freedom = max(int(np.isfinite(values).sum()) - values.shape[1], 1)
    ratios, logs, scales = [], [], []
    for ratio, (share, prior) in product(RECIPE_TO_NOISE, PROMPT_SHARE.items()):
        known = Known(values, prompts, Variances(float(ratio), share, 1 - share))
        fitted = float(known.pulled @ np.linalg.solve(known.precision, known.pulled))
        scale = max(known.squares - fitted, 1e-12) / freedom
        log = known.log_det + float(np.linalg.slogdet(known.precision)[1])
        logs.append(math.log(prior) - 0.5 * (log + freedom * math.log(scale)))
        ratios.append((math.log(ratio), math.log(share), math.log(1 - share)))
        scales.append(math.log(scale))
    weight = np.exp(np.array(logs) - max(logs))
    weight /= weight.sum()
    recipe, taste, residual = unit**2 * np.exp(
        weight @ (np.array(ratios) + np.array(scales)[:, None])
    )
    return Variances(float(recipe), float(taste), float(residual))
