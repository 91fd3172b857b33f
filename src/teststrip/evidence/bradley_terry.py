"""Bradley-Terry with ties and a position effect, refitted over resampled prompts.

Davidson (1970) adds ties to Bradley and Terry (1952), Davidson and Beaver (1977) the advantage of
being shown first. Of recipe l at the left and r at the right, with d = strength_l - strength_r +
left, the choices left, right and tie have weights exp(d / 2), exp(-d / 2) and exp(tie). The log
likelihood is concave, so Newton's method finds its only maximum; strengths sum to 0.

The maximum is infinite where the votes separate the recipes (one won, or lost, every pair it was
in: Ford 1957) or do not link them. Only there a ridge holds it: `RIDGE` / 2 times the sum of
squares is taken off the log likelihood, the weight of a normal prior with deviation 3.2 log odds.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from teststrip.evidence.interval import SEED, Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Ints = NDArray[np.intp]
RIDGE = 0.1
FAR = 10.0  # log odds; a fit that gets there is on its way to infinity
MOST_STEPS = 60
MOST_REFITTED = 150  # recipes; above, resampled fits are one Newton step from the fit
CELLS_AT_ONCE = 20_000_000
LEFT, RIGHT, TIE = 0, 1, 2


@dataclass(frozen=True)
class Tally:
    """Votes, counted. `left`, `right` [C]: the recipes (0 to `recipes` - 1) of each ordered pair.

    `counts` [P, 3 C]: votes by prompt; for each pair those for left, right and tie.
    """

    recipes: int
    left: Ints
    right: Ints
    counts: "csr_array"

    @property
    def prompts(self) -> int:
        """Prompts with a vote."""
        return int(self.counts.shape[0])

    @cached_property
    def incidence(self) -> "csr_array":
        """[C, K]: +1 for the recipe at the left, -1 at the right."""
        return _sparse(self.left, self.right, self.recipes)

    @cached_property
    def squares(self) -> "csr_array":
        """[C, K K]: each row of `incidence` times itself, as a flat matrix."""
        from scipy.sparse import csr_array

        ll, rr = self.left * (self.recipes + 1), self.right * (self.recipes + 1)
        lr = self.left * self.recipes + self.right
        rl = self.right * self.recipes + self.left
        rows = np.tile(np.arange(len(self.left)), 4)
        signs = np.repeat([1.0, 1.0, -1.0, -1.0], len(self.left))
        shape = (len(self.left), self.recipes**2)
        return csr_array((signs, (rows, np.concatenate([ll, rr, lr, rl]))), shape=shape)


@dataclass(frozen=True)
class Fit:
    """One fit, or one for each resample [D]. `strength` [D, K] in log odds, each sums to 0.

    `left` [D]: log odds that the left side gets for being left. `tie` [D]: log weight of a tie,
    -inf where there was none. `held` [D]: the ridge was needed.
    """

    strength: Floats
    left: Floats
    tie: Floats
    held: NDArray[np.bool_]


def tally(left: Ints, right: Ints, choice: Ints, prompt: Ints, recipes: int) -> Tally:
    """Count votes [N]: recipe indices, `LEFT`, `RIGHT` or `TIE`, and prompt indices."""
    from scipy.sparse import csr_array

    pairs, cell = np.unique(left * recipes + right, return_inverse=True)
    shape = (int(prompt.max()) + 1, 3 * len(pairs))
    counts = csr_array((np.ones(len(left)), (prompt, 3 * cell + choice)), shape=shape)
    return Tally(recipes, pairs // recipes, pairs % recipes, counts)


def fit(votes: Tally, *, position: bool = True) -> Fit:
    """The most likely strengths (see above). Without `position`, sides are taken as equal."""
    everything = np.ones((1, votes.prompts))
    return _fits(votes, everything, np.zeros((1, votes.recipes + 2)), position)


def errors(votes: Tally, found: Fit) -> tuple[Floats, float]:
    """Standard errors of the strengths [K] and of `left` if every vote were independent."""
    x, frozen = _start(found)
    counts = _counted(votes, np.ones((1, votes.prompts)))
    _, _, bend = _derivatives(votes, counts, x, frozen, RIDGE if found.held[0] else 0.0)
    variance = np.diag(np.linalg.inv(bend[0])).copy()
    variance[:-2] -= 1 / votes.recipes  # that of their sum, which is known to be 0
    error: Floats = np.sqrt(np.maximum(variance, 0.0))
    return error[:-2], float(error[-2])


def refits(votes: Tally, found: Fit, draws: int = 400) -> Fit:
    """Fits to `draws` resamples of whole prompts, always the same, each begun at `found`."""
    rng = np.random.default_rng([SEED, votes.prompts, draws])
    even = np.full(votes.prompts, 1 / votes.prompts)
    weights = rng.multinomial(votes.prompts, even, size=draws).astype(float)
    if votes.recipes > MOST_REFITTED:
        return _one_step(votes, weights, found)
    start, _ = _start(found)
    at_once = max(1, CELLS_AT_ONCE // (votes.recipes**2 + 3 * len(votes.left)))
    parts = [
        _fits(votes, weights[i : i + at_once], start, position=True)
        for i in range(0, draws, at_once)
    ]
    fields = ("strength", "left", "tie", "held")
    return Fit(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def _fits(votes: Tally, weights: Floats, start: Floats, position: bool) -> Fit:
    """One fit for each row of `weights` [D, P]; the ridge where there is no finite one."""
    counts = _counted(votes, weights)
    frozen = np.zeros((len(weights), votes.recipes + 2), dtype=bool)
    frozen[:, -2] = not position
    frozen[:, -1] = counts[..., TIE].sum(axis=1) == 0
    x = np.where(frozen, 0.0, start)
    idle = frozen[:, -1]
    x, held = _maximise(votes, counts, x, frozen, 0.0)
    if held.any():
        x[held] = 0.0
        x[held], _ = _maximise(votes, counts[held], x[held], frozen[held], RIDGE)
    tie = np.where(idle, -np.inf, x[:, -1])
    return Fit(x[:, :-2], x[:, -2], tie, held)


def _start(found: Fit) -> tuple[Floats, NDArray[np.bool_]]:
    """A fit's parameters [1, K + 2] and which of them stand still (ties where there were none)."""
    x = np.column_stack([found.strength, found.left, found.tie])
    frozen = ~np.isfinite(x)
    return np.where(frozen, 0.0, x), frozen


def _counted(votes: Tally, weights: Floats) -> Floats:
    """[D, C, 3]: votes of the resampled prompts."""
    counts: Floats = np.asarray((votes.counts.T @ weights.T).T)
    return counts.reshape(len(weights), -1, 3)


def _maximise(
    votes: Tally, counts: Floats, x: Floats, frozen: NDArray[np.bool_], ridge: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """(parameters [D, K + 2], which of them ran away) by Newton's method, steps halved if needed.

    `frozen` parameters stay as they are. A fit is done when no step moves it.
    """
    x = x.copy()
    away = np.zeros(len(x), dtype=bool)
    live = np.arange(len(x))
    before, last = x.copy(), np.full(len(x), -np.inf)
    for _ in range(MOST_STEPS):
        value, slope, bend = _derivatives(votes, counts[live], x[live], frozen[live], ridge)
        fell = value < last[live] - 1e-9 * np.abs(last[live])
        step = np.linalg.solve(bend, slope[..., None])[..., 0]
        size = np.abs(step).max(axis=1)
        step *= np.minimum(1.0, 2.0 / np.maximum(size, 1e-300))[:, None]
        old = x[live]
        x[live] = np.where(fell[:, None], (old + before[live]) / 2, old + step)
        before[live] = np.where(fell[:, None], before[live], old)
        last[live] = np.where(fell, last[live], value)
        if not ridge:
            away[live] = np.abs(x[live]).max(axis=1) > FAR
        live = live[(fell | (size > 1e-10)) & ~away[live]]
        if not len(live):
            break
    away[live] = True  # no end in sight: as good as infinite
    return x, away


def _derivatives(
    votes: Tally, counts: Floats, x: Floats, frozen: NDArray[np.bool_], ridge: float
) -> tuple[Floats, Floats, Floats]:
    """Log likelihood [D], gradient [D, K + 2] and minus the Hessian [D, K + 2, K + 2]."""
    chance, value = _chances(votes, counts, x, tie=~frozen[:, -1])
    total = counts.sum(axis=2)
    lean = chance[..., LEFT] - chance[..., RIGHT]
    tied = chance[..., TIE]
    by_side = 0.5 * (counts[..., LEFT] - counts[..., RIGHT] - total * lean)  # d logL / d (d)
    side = 0.25 * total * (1 - tied - lean**2)
    cross = -0.5 * total * lean * tied
    k = votes.recipes
    slope = np.column_stack(
        [
            _times(by_side, votes.incidence),
            by_side.sum(axis=1),
            (counts[..., TIE] - total * tied).sum(axis=1),
        ]
    )
    bend = np.empty((len(x), k + 2, k + 2))
    bend[:, :k, :k] = _times(side, votes.squares).reshape(-1, k, k) + 1 / k  # they sum to 0
    bend[:, :k, k] = bend[:, k, :k] = _times(side, votes.incidence)
    bend[:, :k, k + 1] = bend[:, k + 1, :k] = _times(cross, votes.incidence)
    bend[:, k, k] = side.sum(axis=1)
    bend[:, k, k + 1] = bend[:, k + 1, k] = cross.sum(axis=1)
    bend[:, k + 1, k + 1] = (total * tied * (1 - tied)).sum(axis=1)
    bend[:, np.arange(k + 2), np.arange(k + 2)] += ridge + 1e-9  # never singular, same maximum
    slope -= ridge * x
    slope[frozen] = 0.0
    bend *= ~frozen[:, :, None] & ~frozen[:, None, :]
    bend[:, np.arange(k + 2), np.arange(k + 2)] += frozen
    return value - 0.5 * ridge * (x**2).sum(axis=1), slope, bend


def _chances(
    votes: Tally, counts: Floats, x: Floats, tie: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Probabilities [D, C, 3] of left, right, tie, and the log likelihood [D]."""
    half = 0.5 * (x[:, votes.left] - x[:, votes.right] + x[:, -2, None])
    log = np.stack([half, -half, np.broadcast_to(x[:, -1, None], half.shape)], axis=2)
    top = np.abs(half)[..., None]
    top = np.maximum(top, np.where(tie, x[:, -1], -np.inf)[:, None, None])
    weight = np.exp(log - top)
    weight[~tie, :, TIE] = 0.0
    total = weight.sum(axis=2, keepdims=True)
    value = (counts * np.where(counts > 0, log - top - np.log(total), 0.0)).sum(axis=(1, 2))
    return weight / total, value


def _one_step(votes: Tally, weights: Floats, found: Fit) -> Fit:
    """Resampled fits by one Newton step from the fit, with the fit's own Hessian.

    The gradient of a resample is the weighted sum of the prompts' gradients (the score bootstrap).
    """
    prompts = votes.prompts
    x, frozen = _start(found)
    has_tie = not frozen[0, -1]
    ridge = RIDGE if found.held[0] else 0.0
    whole = _counted(votes, np.ones((1, prompts)))
    chance, _ = _chances(votes, whole, x, tie=~frozen[:, -1])
    _, _, bend = _derivatives(votes, whole, x, frozen, ridge)
    lean, tied = chance[0, :, LEFT] - chance[0, :, RIGHT], chance[0, :, TIE]
    own = [votes.counts[:, i::3] for i in (LEFT, RIGHT, TIE)]
    total = own[0] + own[1] + own[2]
    by_side = 0.5 * (own[0] - own[1] - total.multiply(lean)).tocsr()
    slope = np.column_stack(
        [
            (by_side @ votes.incidence).toarray(),
            by_side.sum(axis=1),
            own[2].sum(axis=1) - total @ tied if has_tie else np.zeros(prompts),
        ]
    )
    moved = x + (weights - 1) @ np.linalg.solve(bend[0], slope.T).T
    tie = moved[:, -1] if has_tie else np.full(len(moved), -np.inf)
    return Fit(moved[:, :-2], moved[:, -2], tie, np.repeat(found.held, len(moved)))


def _times(dense: Floats, sparse: Any) -> Floats:
    """[D, C] @ [C, M] -> [D, M]."""
    out: Floats = np.asarray((sparse.T @ dense.T).T)
    return out


def _sparse(left: Ints, right: Ints, recipes: int) -> "csr_array":
    from scipy.sparse import csr_array

    rows = np.tile(np.arange(len(left)), 2)
    signs = np.repeat([1.0, -1.0], len(left))
    return csr_array((signs, (rows, np.concatenate([left, right]))), shape=(len(left), recipes))
