"""The restricted likelihood of the mixed model of `mixed`, quick for any pattern of missing cells.

Cells of one recipe have the covariance  s_e (I + c ZZ' + a 11'),  Z: which prompt, a = s_u / s_e,
c = s_w / s_e. Two Woodbury steps give its inverse in closed form: with m cells in a prompt and
d = 1 / (1 + c m) for each of them,

    V^-1 = I - c [d inside each prompt] - f dd',   f = a / (1 + a S),   S = sum of d,

so an evaluation is two matrix products over [patterns, B] and one Cholesky factor of [B, B].
Recipes with the same missing cells share a pattern; a race has one for each of its rungs.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from teststrip.evidence.grid import Bools, Floats, Ints


@dataclass(frozen=True)
class Cells:
    """Scores less their block's mean, over `scale`; 0 where there is none.

    `y`, `have` [R, B]; `prompt` [B]: 0 to P - 1, each block with at least one score.
    """

    y: Floats
    have: Bools
    prompt: Ints

    @cached_property
    def member(self) -> Floats:
        """[B, P]: which prompt a block belongs to."""
        return (self.prompt[:, None] == np.arange(self.prompt.max() + 1)).astype(float)

    @cached_property
    def same(self) -> Floats:
        """[B, B]: 1 where two blocks share a prompt."""
        same: Floats = (self.prompt[:, None] == self.prompt).astype(float)
        return same

    @cached_property
    def patterns(self) -> tuple[Floats, Ints, Floats]:
        """([K, B] distinct rows of `have`, [R] which one, [K] how many recipes)."""
        packed = np.packbits(self.have, axis=1)
        keys = np.ascontiguousarray(packed).view(f"V{packed.shape[1]}").ravel()
        _, first, which, count = np.unique(
            keys, return_index=True, return_inverse=True, return_counts=True
        )
        return self.have[first].astype(float), which.astype(np.intp), count.astype(float)

    @cached_property
    def sums(self) -> tuple[Floats, Floats, Floats, Floats]:
        """(m [K, P], prompt sums of y [R, P], sum of y by pattern [K, B], their prompt sums)."""
        o, which, _ = self.patterns
        by_prompt = self.y @ self.member
        total = np.zeros(o.shape)
        np.add.at(total, which, self.y)
        return o @ self.member, by_prompt, total, total @ self.member

    @property
    def degrees(self) -> int:
        """Cells less blocks: the degrees of freedom of the restricted likelihood."""
        return int(self.have.sum()) - self.have.shape[1]

    def part(self, recipes: Ints, blocks: Ints) -> "Cells":
        """Some recipes on some blocks, less the blocks that none of these was shown."""
        have = self.have[np.ix_(recipes, blocks)]
        shown = have.any(axis=0)
        _, prompt = np.unique(self.prompt[blocks[shown]], return_inverse=True)
        y = self.y[np.ix_(recipes, blocks[shown])]
        return Cells(y, have[:, shown], prompt.astype(np.intp))

    def at(self, a: float, c: float) -> "Point":
        """Everything the likelihood needs at two ratios of variances."""
        return Point(self, a, c)


class Point:
    """The model at one pair of ratios `a`, `c`; variances in units of the residual's.

    `beta` [B]: estimated block effects, `M` [B, B]: the inverse of their covariance. `rest` [R]:
    for each recipe d'(y - beta). `shrink` [R]: the posterior of u_r given beta is
    N(shrink rest, shrink s_e).
    """

    def __init__(self, cells: Cells, a: float, c: float) -> None:
        o, which, count = cells.patterns
        m, sums, total, prompt_total = cells.sums
        self.cells, self.a, self.c = cells, a, c
        self.d = 1 / (1 + c * m)  # [K, P]
        self.D = o * self.d[:, cells.prompt]  # [K, B]
        self.S = (m * self.d).sum(axis=1)
        self.f = a / (1 + a * self.S)
        inside = c * cells.same * ((self.D * count[:, None]).T @ o)
        across = (self.D * (count * self.f)[:, None]).T @ self.D
        self.M = np.diag(count @ o) - inside - across
        self.root = np.linalg.cholesky(self.M)
        dy = (self.D * total).sum(axis=1)
        xvy = total - o * ((c * self.d * prompt_total)[:, cells.prompt])
        xvy = xvy.sum(axis=0) - (self.f * dy) @ self.D
        half = np.linalg.solve(self.root, xvy)
        self.beta = np.linalg.solve(self.root.T, half)
        own = (self.d[which] * sums).sum(axis=1)  # d'y of each recipe
        yvy = (cells.y**2).sum() - c * (self.d[which] * sums**2).sum()
        yvy -= (self.f[which] * own**2).sum()
        self.Q = max(float(yvy - half @ half), 1e-300)
        self.rest = own - (self.D @ self.beta)[which]
        self.shrink = self.f[which]
        self._log_v = float(count @ (np.log1p(c * m).sum(axis=1) + np.log1p(a * self.S)))

    @property
    def log_likelihood(self) -> float:
        """Restricted, the residual variance integrated out with the prior 1 / s_e (Q^(-n/2))."""
        log_m = 2 * float(np.log(np.diag(self.root)).sum())
        return -0.5 * (self._log_v + log_m + self.cells.degrees * float(np.log(self.Q)))

    @property
    def residual(self) -> float:
        """The REML estimate of s_e at these ratios."""
        return self.Q / self.cells.degrees

    def gradient(self) -> Floats:
        """Derivatives of the log likelihood with respect to (a, c)."""
        o, which, count = self.cells.patterns
        m, sums, _, _ = self.cells.sums
        member, prompt = self.cells.member, self.cells.prompt
        inverse = np.linalg.inv(self.M)
        weight = self.cells.degrees / self.Q
        g = 1 / (1 + self.a * self.S)  # V^-1 1 = g D
        trace_a = count @ (g * self.S)
        trace_a -= float((inverse * ((self.D * (count * g**2)[:, None]).T @ self.D)).sum())
        along = self.rest * g[which]
        t = m * self.d
        Dt = self.D * t[:, prompt]
        square = count * self.f**2 * (t**2).sum(axis=1)
        D = self.D
        VZZV = self.cells.same * ((D * count[:, None]).T @ D)
        mixed = (D * (count * self.f)[:, None]).T @ Dt
        VZZV = VZZV - mixed - mixed.T + (D * square[:, None]).T @ D
        trace_c = count @ (t.sum(axis=1) - self.f * (t**2).sum(axis=1))
        trace_c -= float((inverse * VZZV).sum())
        left = self.d[which] * (sums - (o @ (member * self.beta[:, None]))[which])
        z = left - (self.f[which] * self.rest)[:, None] * t[which]
        return 0.5 * np.array(
            [weight * (along**2).sum() - trace_a, weight * (z**2).sum() - trace_c]
        )
