"""Scores that are all known beforehand, for races to run on: in tests and benchmarks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class ScoreMatrix:
    """What a race may ask for (`teststrip.study.race.Scores`), from a matrix instead of a study.

    `values`: [objectives, recipes, blocks], higher is better; recipes are called "0", "1", ...
    `names`: the prompt of each block; without, eight prompts take turns. `fetched`: recipe -> the
    most blocks that were ever asked for.
    """

    def __init__(self, values: Any, names: Sequence[str] | None = None) -> None:
        self.values: Floats = np.asarray(values, dtype=float)
        blocks = self.values.shape[-1]
        self.names = list(names) if names is not None else [f"p{i % 8}" for i in range(blocks)]
        self.fetched: dict[str, int] = {}

    def fetch(self, needs: Mapping[str, int]) -> None:
        """Everything is there; remember what was asked for."""
        for name, count in needs.items():
            self.fetched[name] = max(self.fetched.get(name, 0), count)

    def matrix(self, ids: Sequence[str], blocks: int) -> Floats:
        """See `race.Scores`; NaN where a cell was never asked for, as in a study."""
        values = self.values[:, [int(i) for i in ids], :blocks].copy()
        for row, name in enumerate(ids):
            values[:, row, self.fetched.get(name, 0) :] = np.nan
        return values

    def prompts(self, blocks: int) -> list[str]:
        """See `race.Scores`."""
        return self.names[:blocks]


def paired_world(
    seed: int, recipes: int = 16, blocks: int = 32, noise: float = 0.0
) -> tuple[Floats, ScoreMatrix]:
    """Truth 0, 1/n, 2/n, ... in random order, blocks of all levels, and noise of the cells."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(recipes) / recipes
    block = rng.standard_normal(blocks)
    own = noise * rng.standard_normal((recipes, blocks))
    return truth, ScoreMatrix((truth[:, None] + block + own)[None])
