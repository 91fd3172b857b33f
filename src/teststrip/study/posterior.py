"""A race that spends each batch where it may still change the choice, and stops when none would.

After each batch the two-level model (`teststrip.study.effects`) says what each recipe is worth and
how sure that is. Draws from it play the rest of the full grid to its end; each draw names its best
recipe and the runner-up, and the next cells go to these (top-two Thompson sampling: Russo 2016,
arXiv 1602.08448), always a recipe's next block in the common order. The race is over when running
everything to the end is expected to gain less than `regret`, as a share of the standard deviation
between recipes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from teststrip.study.effects import Effects, Variances, estimate, fit_variances
from teststrip.study.paired import MOST_FAILED, Entrant, Floats, Indices, Scores

DRAWS = 256
BATCH = 24
MOST_AT_ONCE = 4
REFIT = 1.5


@dataclass
class Posterior:
    """Top-two racing; the best `keep` recipes see all `top` blocks before it ends.

    `reached` is a pure function of the scores: draws are seeded by `seed` and the number of the
    batch. A later wave of recipes joins those of earlier waves, which may go on as well.
    """

    scores: Scores
    top: int
    start: int = 2
    regret: float = 0.03
    keep: int = 1
    seed: int = 0
    reached: dict[str, int] = field(default_factory=dict)
    first_wave = None
    _fitted: tuple[int, Variances] | None = None
    _batch: int = 0

    def run(self, wave: Sequence[Entrant], also: Mapping[str, int] | None = None) -> None:
        """Race a wave; `also` is made in the same breath as its first blocks (the baseline)."""
        fresh = [e.recipe_id for e in wave]
        needs = dict.fromkeys(fresh, min(self.start, self.top))
        self._fetch(needs, also)
        while needs := self._next():
            self._fetch(needs)

    def _fetch(self, needs: Mapping[str, int], also: Mapping[str, int] | None = None) -> None:
        self.scores.fetch(dict(needs) | dict(also or {}))
        self.reached.update(needs)

    def _next(self) -> dict[str, int]:
        """The recipes that go on and how far; none when the race is over."""
        ids, values, prompts = self._known()
        if not ids:
            return {}
        blocks = np.array([self.reached[i] for i in ids])
        variances = self._variances(values, prompts, int(blocks.sum()))
        effects = estimate(values, prompts, variances)
        finals = self._finals(effects, variances)
        best = int(np.argmax(effects.mean))
        gain = float((finals.max(axis=1) - finals[:, best]).mean())
        enough = self.regret * math.sqrt(variances.recipe + self._error(variances))
        more = np.zeros(len(ids), dtype=int)
        if gain > enough:
            more = self._share_out(finals, blocks)
        if not more.any():
            leaders = np.argsort(-effects.mean, kind="stable")[: self.keep]
            more[leaders] = self.top - blocks[leaders]
        self._batch += 1
        return {ids[i]: int(blocks[i] + more[i]) for i in np.flatnonzero(more)}

    def _known(self) -> tuple[list[str], Floats, list[str]]:
        """Recipes that have not failed too often, their scores, and the blocks' prompts."""
        ids = list(self.reached)
        depth = max(self.reached.values())
        values = self.scores.matrix(ids, depth)[0]
        blocks = np.array([self.reached[i] for i in ids])
        values[np.arange(depth)[None, :] >= blocks[:, None]] = np.nan
        share = np.isfinite(values).sum(axis=1) / blocks
        inside = np.flatnonzero(share >= 1 - MOST_FAILED)
        values = values[inside]
        columns = np.flatnonzero(np.isfinite(values).any(axis=0))
        names = self.scores.prompts(depth)
        return [ids[i] for i in inside], values[:, columns], [names[int(i)] for i in columns]

    def _variances(self, values: Floats, prompts: Sequence[str], images: int) -> Variances:
        if self._fitted is None or images >= REFIT * self._fitted[0]:
            self._fitted = images, fit_variances(values, prompts)
        return self._fitted[1]

    def _error(self, variances: Variances) -> float:
        """Variance of a mean over the full grid around the recipe's true value."""
        prompts = self.scores.prompts(self.top)
        return variances.taste / len(set(prompts)) + variances.residual / len(prompts)

    def _finals(self, effects: Effects, variances: Variances) -> Floats:
        """What the full grid may come to say of each recipe: [draws, recipes]."""
        rng = np.random.default_rng([self.seed, self._batch])
        last = variances.left_at(self.scores.prompts(self.top))
        open_ = np.sqrt(np.maximum(effects.variance - last, 0.0))
        count, blocks = effects.pull.shape
        jitter = 1e-9 * np.trace(effects.blocks) / blocks * np.eye(blocks)
        root = np.linalg.cholesky(effects.blocks + jitter)
        own = rng.standard_normal((DRAWS, count)) * open_
        shared = rng.standard_normal((DRAWS, blocks)) @ root.T @ effects.pull.T
        finals: Floats = effects.mean + own - shared
        return finals

    def _share_out(self, finals: Floats, blocks: Indices) -> Indices:
        """How many more blocks each recipe gets in the next batch."""
        more = np.zeros(len(blocks), dtype=np.intp)
        wanted = max(BATCH, len(blocks) // 2)
        first = finals.argmax(axis=1)
        others = finals.copy()
        others[np.arange(len(finals)), first] = -np.inf
        second = others.argmax(axis=1)
        for recipe in np.stack([first, second], axis=1).ravel():
            if more[recipe] < min(MOST_AT_ONCE, self.top - blocks[recipe]):
                more[recipe] += 1
                if more.sum() == wanted:
                    break
        return more
