"""Worlds of known truth for `images_needed.py`: which recipe is best, and what every image scores.

score = recipe + prompt + seed + recipe x prompt + residual, with standard deviations .25, 1, .6,
.25 and .5 (those of docs/benchmarks.md, assumed). 8 prompts x 4 seeds, in a study's order.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np

from teststrip.study.race import Floats

PROMPTS, SEEDS = 8, 4
BLOCKS = PROMPTS * SEEDS
SD = {"recipe": 0.25, "prompt": 1.0, "seed": 0.6, "recipe_prompt": 0.25, "residual": 0.5}
PROMPT = np.tile(np.arange(PROMPTS), SEEDS)
NAMES = [f"p{i}" for i in PROMPT]
SIZES = (3, 4, 4)  # choices of the three parameters of the unstructured world
AXES = 5  # parameters of the smooth one
LEVELS = (1 / 6, 1 / 2, 5 / 6)  # of its grid


class World:
    """Recipes that are scored as soon as they are known; a race may run on it (`race.Scores`)."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        draw = self.random.standard_normal
        self.level = SD["prompt"] * draw(PROMPTS)[PROMPT] + SD["seed"] * draw(BLOCKS)
        self.scores: Floats = np.zeros((0, BLOCKS))
        self.anywhere: Floats = np.zeros(0)
        self.here: Floats = np.zeros(0)

    def fetch(self, needs: Mapping[str, int]) -> None:
        """Everything is there."""

    def matrix(self, ids: Sequence[str], blocks: int) -> Floats:
        """See `race.Scores`."""
        return self.scores[None, [int(i) for i in ids], :blocks].copy()

    def prompts(self, blocks: int) -> list[str]:
        """See `race.Scores`."""
        return NAMES[:blocks]

    def add(self, truth: Floats, taste: Floats) -> list[str]:
        """New recipes: their truth and how each prompt takes to them, [recipes, prompts]."""
        residual = SD["residual"] * self.random.standard_normal((len(truth), BLOCKS))
        new = truth[:, None] + taste[:, PROMPT] + self.level + residual
        first = len(self.scores)
        self.scores = np.vstack([self.scores, new])
        self.anywhere = np.append(self.anywhere, truth)
        self.here = np.append(self.here, truth + taste.mean(axis=1))
        return [str(first + i) for i in range(len(truth))]

    def apart(self, ids: Sequence[str], count: int) -> Floats:
        """As many images of each recipe, each on prompts and seeds of its own: their means."""
        spread = np.sqrt(sum(SD[k] ** 2 for k in SD if k != "recipe") / count)
        truth = self.anywhere[[int(i) for i in ids]]
        means: Floats = truth + spread * self.random.standard_normal(len(ids))
        return means


class Unstructured(World):
    """48 recipes whose values have nothing to do with each other."""

    title = "unstructured"
    count = int(np.prod(SIZES))

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        draw = self.random.standard_normal
        self.all = self.add(
            SD["recipe"] * draw(self.count), SD["recipe_prompt"] * draw((self.count, PROMPTS))
        )
        self.best = float(self.anywhere.max())

    def at(self, shares: Sequence[float]) -> str:
        """The recipe at a point of the unit cube."""
        place = [min(int(s * n), n - 1) for s, n in zip(shares, SIZES, strict=True)]
        return str(int(np.ravel_multi_index(place, SIZES)))

    def everything(self) -> list[str]:
        """The full grid."""
        return self.all


class Smooth(World):
    """A hill over five parameters: some matter ten times as much as others, and two pairs interact.

    Each prompt moves the top of the hill a little (its taste is linear). The standard deviations
    over the whole space are those of the unstructured world.
    """

    title = "smooth"
    count = len(LEVELS) ** AXES

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        draw = self.random
        self.top = draw.uniform(0.1, 0.9, AXES)
        self.weight = np.exp(draw.uniform(np.log(0.1), 0, AXES))
        self.bend = np.diag(-self.weight)
        for _ in range(2):
            a, b = draw.choice(AXES, 2, replace=False)
            self.bend[a, b] += (
                0.5 * draw.standard_normal() * np.sqrt(self.weight[a] * self.weight[b])
            )
        self.lean = draw.standard_normal((AXES, PROMPTS)) * np.sqrt(self.weight)[:, None]
        cube = np.random.default_rng(0).random((4096, AXES))
        height = self._height(cube)
        self.shift, self.scale = height.mean(), SD["recipe"] / height.std()
        self.lean *= SD["recipe_prompt"] / np.sqrt((((cube - 0.5) @ self.lean) ** 2).mean())
        self.best = self._highest(cube[np.argsort(-height)[:6]])
        self.known: dict[tuple[float, ...], str] = {}

    def at(self, shares: Sequence[float]) -> str:
        """The recipe at a point of the unit cube."""
        point = tuple(round(float(s), 6) for s in shares)
        if point not in self.known:
            self.known[point] = self._at(np.array([point]))[0]
        return self.known[point]

    def everything(self) -> list[str]:
        """Three levels of each parameter, crossed."""
        return self._at(np.array(list(product(LEVELS, repeat=AXES))))

    def _at(self, points: Floats) -> list[str]:
        truth = (self._height(points) - self.shift) * self.scale
        return self.add(truth, (points - 0.5) @ self.lean)

    def _height(self, points: Floats) -> Floats:
        away = points - self.top
        height: Floats = np.einsum("na,ab,nb->n", away, self.bend, away)
        return height

    def _highest(self, starts: Floats) -> float:
        from scipy.optimize import minimize

        found = [
            minimize(lambda x: -self._height(x[None])[0], start, bounds=[(0, 1)] * AXES).fun
            for start in starts
        ]
        return float((-min(found) - self.shift) * self.scale)
