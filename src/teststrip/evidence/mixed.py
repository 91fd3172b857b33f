"""The mixed model behind variance shares, P(best) and the shrunk winner.

    score of recipe r on block b = beta_b + u_r + w_{r, prompt of b} + e_rb

Block effects beta are fixed (every recipe is shown the same blocks); recipe u, recipe x prompt w
and residual e are random with variances fitted by restricted maximum likelihood (Patterson &
Thompson 1971) to *all* cells, whatever is missing. A race stops a recipe because of scores that
are in the table, so what it did not make is missing at random and the likelihood needs no model
of the stopping (Rubin 1976). That is why the stopped recipes stay in: among survivors only, what
they have in common is that their early images were lucky.

The uncertainty of the variances is carried along, see `ratios`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from teststrip.evidence.grid import Floats, Grid, Ints
from teststrip.evidence.ratios import LARGEST, Posterior, posterior_of
from teststrip.evidence.restricted import Cells, Point

MOST_BLOCKS = 256  # that the variances are fitted to; a product costs their number cubed


@dataclass(frozen=True, eq=False)
class Fit:
    """The fitted model. Variances in squared units of the score.

    `recipes`: rows of the grid that were used; `blocks`: columns. `cells`: all scores; `some`:
    those that the variances were fitted to, all of them too up to 256 blocks; `mode`: the REML
    estimate there. `splits_interaction`: recipe x prompt and residual can be told apart; if not,
    their sum is in `residual` and `interaction` is 0 (one block per prompt), or recipe x prompt is
    part of `recipe` (one prompt).
    """

    cells: Cells
    some: Cells
    centre: Floats
    recipes: Ints
    blocks: Ints
    names: tuple[str, ...]
    scale: float
    prompts: int
    splits_interaction: bool
    mode: Point

    @property
    def recipe(self) -> float:
        """s_u: between recipes."""
        return self.mode.a * self.residual

    @property
    def interaction(self) -> float:
        """s_w: what a recipe is worth on this prompt more than on others."""
        return self.mode.c * self.residual

    @property
    def residual(self) -> float:
        """s_e: the rest."""
        return self.mode.residual * self.scale**2

    @cached_property
    def beta(self) -> Floats:
        """[blocks of `some`]: their estimated levels, in score units, higher is better."""
        return self.centre + self.scale * self.mode.beta

    @cached_property
    def beta_covariance(self) -> Floats:
        """[blocks of `some`, the same]: error covariance of `beta`."""
        covariance: Floats = self.residual * np.linalg.inv(self.mode.M)
        return covariance

    @cached_property
    def posterior(self) -> Posterior:
        """What the data leave open about the two ratios."""
        return posterior_of(self.some, self.mode, self.splits_interaction)


def fit(grid: Grid) -> Fit | None:
    """Fit the usable recipes of a grid.

    None where there is nothing to fit: fewer than two recipes, no two blocks in common, or scores
    that do not differ between recipes.
    """
    recipes = np.flatnonzero(grid.usable)
    blocks = np.flatnonzero(grid.have[recipes].any(axis=0))
    if len(recipes) < 2 or len(blocks) < 2:
        return None
    have = grid.have[np.ix_(recipes, blocks)]
    y = np.where(have, grid.sign * grid.values[np.ix_(recipes, blocks)], 0.0)
    height = float(np.abs(y).max())
    if height == 0:
        return None
    centre = (y / height).sum(axis=0) / have.sum(axis=0)
    y = np.where(have, y / height - centre, 0.0)
    spread = float(np.sqrt((y**2).sum() / have.sum()))
    if spread <= 1e-10:  # rounding of scores that are equal
        return None
    prompts, prompt = np.unique(grid.prompt_index[blocks], return_inverse=True)
    cells = Cells(y / spread, have, prompt.astype(np.intp))
    kept = _kept(cells.prompt)
    some = cells.part(np.arange(len(recipes)), kept)
    between, within = _degrees(some)
    if between + within == 0:
        return None
    splits = between > 0 and within > 0
    mode = _mode(some, splits)
    if mode.residual <= 1e-12:  # recipes differ, and nothing else does
        return None
    return Fit(
        cells=cells,
        some=some,
        centre=height * centre[kept],
        recipes=recipes,
        blocks=blocks,
        names=tuple(grid.recipes[i] for i in recipes),
        scale=height * spread,
        prompts=len(prompts),
        splits_interaction=splits,
        mode=mode,
    )


def jackknife(fit: Fit) -> Floats:
    """[G, 3]: (recipe, interaction, residual) fitted without one group of recipes at a time.

    A group is one recipe; with more than 20 recipes every 20th. What the recipes themselves say of
    the uncertainty, where they differ in spread or their scores have heavy tails.
    """
    R, blocks = len(fit.recipes), np.arange(len(fit.some.prompt))
    groups = min(R, 20)
    out = []
    for group in range(groups):
        cells = fit.some.part(np.flatnonzero(np.arange(R) % groups != group), blocks)
        if cells.degrees < 1:
            continue
        point = _climb(cells, fit.mode.a, fit.mode.c, fit.splits_interaction, exact=False)
        s_e = point.residual * fit.scale**2
        out.append([point.a * s_e, point.c * s_e, s_e])
    return np.array(out).reshape(-1, 3)


def _kept(prompt: Ints) -> Ints:
    """The blocks to fit variances to: whole prompts, drawn once for all."""
    rng = np.random.default_rng(0)
    place = rng.permutation(int(prompt.max()) + 1)[prompt]
    return np.sort(np.argsort(place, kind="stable")[:MOST_BLOCKS])


def _degrees(cells: Cells) -> tuple[int, int]:
    """Degrees of freedom of recipe x prompt (recipes and blocks taken off) and of the residual.

    Cells less the rank of [blocks, recipes] and of [blocks, recipes x prompts]; a two-way layout
    loses one rank for each connected part.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    r, b = np.nonzero(cells.have)
    R, B = cells.have.shape

    def left_over(rows: Ints, count: int) -> int:
        size = count + B
        graph = coo_array((np.ones(len(b)), (rows, count + b)), shape=(size, size))
        parts = connected_components(graph, directed=False)[0]
        used = len(np.unique(rows)) + B
        return len(b) - (used - (parts - (size - used)))

    prompts = int(cells.prompt.max()) + 1
    within = left_over(r * prompts + cells.prompt[b], R * prompts)
    return left_over(r, R) - within, within


def _mode(cells: Cells, splits: bool) -> Point:
    """The REML estimate: the best node of a coarse grid, then a bounded quasi-Newton search."""
    coarse = np.array([0.0, 0.1, 0.3, 0.6, 1.2, 2.5, 6.0]) ** 2
    starts = [(a, c) for a in coarse for c in (coarse if splits else coarse[:1])]
    best = max((cells.at(a, c) for a, c in starts), key=lambda point: point.log_likelihood)
    point = _climb(cells, best.a, best.c, splits)
    return point if point.log_likelihood >= best.log_likelihood else best


def _climb(cells: Cells, a: float, c: float, splits: bool, exact: bool = True) -> Point:
    """The top of the likelihood, uphill from a start; neither ratio is below 0."""
    from scipy.optimize import minimize

    def loss(x: Floats) -> tuple[float, Floats]:
        point = cells.at(float(x[0]), float(x[1]))
        slope = point.gradient()
        if not splits:
            slope[1] = 0.0
        return -point.log_likelihood, -slope

    bounds = [(0.0, LARGEST), (0.0, LARGEST if splits else 0.0)]
    options = {"ftol": 1e-15 if exact else 1e-10, "gtol": 1e-9 if exact else 1e-4, "maxiter": 200}
    start = np.array([a, c])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return cells.at(float(found.x[0]), float(found.x[1]))
