"""Which pictures are in which batch: a function of seed and number, so that resuming is exact."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

# What a generator is for comes first in its seed: numpy takes [1] and [1, 0] for the same seed.
OWNERS, ROWS = 1, 2


class Batches:
    """Rows for batch number 0, 1, 2, ... of a run.

    Pictures of one shape form a stream of shuffled rounds; a batch is the next `size` of one
    stream. Over every `len(rows)` batches each picture comes exactly `size` times, whatever its
    shape, and no batch is short. Rows of the class (prior preservation) are added from streams of
    their own, `size` more for each batch.
    """

    def __init__(
        self, shapes: Sequence[tuple[int, int]], is_class: Sequence[bool], size: int, seed: int
    ) -> None:
        self._size = size
        self._own = _Streams([r for r, c in enumerate(is_class) if not c], shapes, [seed, 0])
        classes = [row for row, c in enumerate(is_class) if c]
        self._classes = _Streams(classes, shapes, [seed, 1]) if classes else None

    def at(self, number: int) -> list[list[int]]:
        """Groups of rows of one shape each: one group, or two where the class's shape differs."""
        own, shape = self._own.at(number, self._size)
        if self._classes is None:
            return [own]
        rows, its = self._classes.at(number, self._size)
        return [own + rows] if its == shape else [own, rows]


class _Streams:
    """Rows by shape, each shape a stream without end."""

    def __init__(
        self, rows: Sequence[int], shapes: Sequence[tuple[int, int]], seed: Sequence[int]
    ) -> None:
        self._by_shape: dict[tuple[int, int], list[int]] = {}
        for row in rows:
            self._by_shape.setdefault(shapes[row], []).append(row)
        self._shapes = sorted(self._by_shape)
        self._seed = tuple(seed)
        counts = [len(self._by_shape[shape]) for shape in self._shapes]
        self._owners = np.repeat(np.arange(len(self._shapes)), counts)
        self._round = lru_cache(maxsize=2)(self._shuffled_owners)
        self._order = lru_cache(maxsize=4 * len(self._shapes))(self._shuffled_rows)

    def at(self, number: int, size: int) -> tuple[list[int], tuple[int, int]]:
        """The `size` rows of batch `number`, and their shape."""
        turn, place = divmod(number, len(self._owners))
        owners, earlier = self._round(turn)
        which = int(owners[place])
        rows = self._by_shape[self._shapes[which]]
        first = (turn * len(rows) + int(earlier[place])) * size
        return [
            rows[self._order(which, i // len(rows))[i % len(rows)]]
            for i in range(first, first + size)
        ], self._shapes[which]

    def _shuffled_owners(self, turn: int) -> tuple[np.ndarray, np.ndarray]:
        """Whose batch each one of a round is, and how many that shape had before in the round."""
        owners = np.random.default_rng([OWNERS, *self._seed, turn]).permutation(self._owners)
        earlier = np.zeros(len(owners), dtype=np.int64)
        for which in range(len(self._shapes)):
            mine = owners == which
            earlier[mine] = np.arange(mine.sum())
        return owners, earlier

    def _shuffled_rows(self, which: int, turn: int) -> list[int]:
        count = len(self._by_shape[self._shapes[which]])
        rng = np.random.default_rng([ROWS, *self._seed, which, turn])
        return [int(i) for i in rng.permutation(count)]
