"""The posterior of the mixed model's two ratios s_u / s_e and s_w / s_e, on a grid.

The prior is flat on the ratios of the standard deviations (Gelman 2006), falling beyond 10, where
only two recipes would leave it improper, and 1 / s_e on the residual, which is integrated out.
"""

from dataclasses import dataclass

import numpy as np

from teststrip.evidence.grid import Floats
from teststrip.evidence.restricted import Cells, Point

NODES = 15  # for each ratio
NODES_OF_ONE = 61  # where only one ratio is open
FAR = 10.0  # a ratio of standard deviations beyond which the prior falls
NEGLIGIBLE = 7.0  # log likelihood below its top: the grid ends here
LARGEST = 1e4  # of a ratio of variances


@dataclass(frozen=True)
class Posterior:
    """Nodes [N] of the posterior over the ratios of standard deviations, weights sum to 1.

    `step` [N, 2]: the width of a node's cell, for draws between the nodes.
    """

    ratios: Floats
    step: Floats
    weights: Floats
    degrees: int
    Q: Floats


def posterior_of(cells: Cells, mode: Point, splits: bool) -> Posterior:
    """The grid is even in log(1 + ratio / typical) and widened until its edges weigh nothing."""
    centre = np.sqrt([mode.a, mode.c])
    typical = np.maximum(centre, 0.2)
    top = mode.log_likelihood
    ends = [_ends(cells, mode, axis, top) for axis in ((0, 1) if splits else (0,))]
    for _ in range(4):
        nodes = NODES if splits else NODES_OF_ONE
        axes = [_axis(low, high, typical[k], nodes) for k, (low, high) in enumerate(ends)]
        if not splits:
            axes.append((np.zeros(1), np.zeros(1)))
        (x, dx), (z, dz) = axes
        found = np.array([[_height(cells, a, c) for c in z] for a in x])
        log_p, Q = found[..., 0] - top, found[..., 1]
        prior = 1 / (1 + (x / FAR) ** 2)
        weight = np.exp(log_p) * (prior * _half(x, dx))[:, None]
        if splits:
            weight *= (_half(z, dz) / (1 + (z / FAR) ** 2))[None, :]
        weight /= weight.sum()
        wide = [_widened(ends[0], weight.sum(axis=1))]
        if splits:
            wide.append(_widened(ends[1], weight.sum(axis=0)))
        if wide == ends:
            break
        ends = wide
    kept = weight.ravel() > 1e-6 * weight.max()
    grid = np.stack(np.meshgrid(x, z, indexing="ij"), axis=-1).reshape(-1, 2)
    step = np.stack(np.meshgrid(dx, dz, indexing="ij"), axis=-1).reshape(-1, 2)
    weights = weight.ravel()[kept]
    return Posterior(
        grid[kept], step[kept], weights / weights.sum(), cells.degrees, Q.ravel()[kept]
    )


def _height(cells: Cells, a: float, c: float) -> tuple[float, float]:
    point = cells.at(a**2, c**2)
    return point.log_likelihood, point.Q


def _ends(cells: Cells, mode: Point, axis: int, top: float) -> tuple[float, float]:
    """Where the likelihood has fallen to nothing, below and above the mode, along one axis."""
    start = np.sqrt([mode.a, mode.c])

    def gone(x: float) -> bool:
        at = start.copy()
        at[axis] = x
        return cells.at(at[0] ** 2, at[1] ** 2).log_likelihood < top - NEGLIGIBLE

    here = float(start[axis])
    step = max(0.05 * here, 0.02)
    high = low = here
    while high < LARGEST**0.5:
        high = here + step
        if gone(high):
            break
        step *= 1.6
    step = max(0.05 * here, 0.02)
    while low > 0:
        low = max(here - step, 0.0)
        if low == 0 or gone(low):
            break
        step *= 1.6
    return low, min(high, LARGEST**0.5)


def _axis(low: float, high: float, typical: float, nodes: int) -> tuple[Floats, Floats]:
    """(nodes, width of each node's cell)."""
    ends = np.log1p(np.array([low, high]) / typical)
    t = np.linspace(ends[0], ends[1], nodes)
    x = typical * np.expm1(t)
    if low == 0:
        x[0] = 0.0
    return x, typical * np.exp(t) * (t[1] - t[0])


def _half(x: Floats, width: Floats) -> Floats:
    """The cell of a node at zero has only its upper half."""
    out: Floats = np.where(x == 0, width / 2, width)
    return out


def _widened(ends: tuple[float, float], weight: Floats) -> tuple[float, float]:
    low, high = ends
    least = 2e-3 * weight.max()
    if weight[-1] > least and high < LARGEST**0.5:
        high = min(high + 0.6 * (high - low), LARGEST**0.5)
    if weight[0] > least and low > 0:
        low = max(low - 0.4 * (high - low), 0.0)
    return low, high
