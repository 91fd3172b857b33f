"""StepScheduler: who is in the next forward. Pure Python; no tensor appears here."""

from collections import deque
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar


class Rider(Protocol):
    """What the scheduler needs to know of a request."""

    @property
    def batch_key(self) -> Hashable:
        """Equal for requests that may share a forward."""
        ...

    @property
    def rows(self) -> int:
        """Rows of the forward it takes: 2 with guidance, else 1."""
        ...


R = TypeVar("R", bound=Rider)


class StepScheduler(Generic[R]):
    """First come, first served; a request that fits may overtake one that does not, but no more
    than `patience` times. Requests on board stay on board until they are removed: continuous
    batching at the granularity of a step. When the last one leaves, those that wait with its batch
    key (adapter set, size) come next, so that mixed traffic does not change adapters at each step.
    """

    def __init__(self, max_rows: int, patience: int = 64) -> None:
        self.max_rows = max_rows
        self.patience = patience
        self.waiting: deque[R] = deque()
        self.running: list[R] = []
        self._overtaken = 0
        self._last_key: Hashable = None

    def __len__(self) -> int:
        return len(self.waiting) + len(self.running)

    def add(self, rider: R) -> None:
        """Put a request at the end of the queue."""
        self.waiting.append(rider)

    def remove(self, rider: R) -> None:
        """Take a request out, wherever it is; its rows are free at the next step."""
        if rider in self.running:
            self.running.remove(rider)
        elif rider in self.waiting:
            if self.waiting[0] is rider:
                self._overtaken = 0
            self.waiting.remove(rider)

    def next_batch(self) -> list[R]:
        """The requests of the next forward: one batch key, at most `max_rows` rows.

        Requests on board come first, in the order of their admission. After `max_rows` was
        halved (out of memory) some of them sit out until there is room.
        """
        self._admit()
        batch: list[R] = []
        free = self.max_rows
        for rider in self.running:
            if rider.rows <= free and (not batch or rider.batch_key == batch[0].batch_key):
                batch.append(rider)
                free -= rider.rows
        return batch

    def _admit(self) -> None:
        free = self.max_rows - sum(rider.rows for rider in self.running)
        passed: deque[R] = deque()
        key = self._key()
        while self.waiting and free > 0:
            rider = self.waiting.popleft()
            fits = rider.rows <= free and (key is None or rider.batch_key == key)
            if fits and (not passed or self._overtaken < self.patience):
                self._overtaken = self._overtaken + 1 if passed else 0
                self.running.append(rider)
                key = self._last_key = rider.batch_key
                free -= rider.rows
            else:
                passed.append(rider)
                if self._overtaken >= self.patience:
                    break
        self.waiting.extendleft(reversed(passed))

    def _key(self) -> Hashable:
        """The batch key that may board; None is any."""
        if self.running:
            return self.running[0].batch_key
        is_wanted = any(rider.batch_key == self._last_key for rider in self.waiting)
        return self._last_key if is_wanted and self._overtaken < self.patience else None
