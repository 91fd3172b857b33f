"""progress.json: how far a run is, for whoever looks at its folder. Advice, never the record."""

import json
import logging
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

from teststrip.errors import StorageError
from teststrip.files import write_atomic
from teststrip.train.measure.written import clean

log = logging.getLogger(__name__)
EVERY_S = 0.5
RECENT = 64  # marks that the present pace is taken from


class Standing:
    """Doing, step, steps, images_per_s, eta_s, loss, val_loss, pid, updated."""

    def __init__(self, path: Path, steps: int) -> None:
        self._path = path
        self._next = 0.0
        self._marks: deque[tuple[float, int]] = deque(maxlen=RECENT)
        self.numbers: dict[str, Any] = {"doing": "starting", "step": 0, "steps": steps}

    def begin(self, step: int) -> None:
        """The run (again) stands at `step`; the pace is measured from here."""
        self._marks.clear()
        self._marks.append((time.monotonic(), step))
        self.tell(step=step, now=True)

    def reached(self, step: int, **numbers: Any) -> None:
        """Training is at `step`."""
        self._marks.append((time.monotonic(), step))
        self.tell(step=step, doing="training", **numbers)

    def tell(self, *, now: bool = False, **numbers: Any) -> None:
        """Take numbers in; write them if the last writing was long enough ago, or `now`."""
        changed = numbers.get("doing", self.numbers["doing"]) != self.numbers["doing"]
        self.numbers |= numbers
        if now or changed or time.monotonic() >= self._next:
            self._write()
            self._next = time.monotonic() + EVERY_S

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the present pace, which includes measuring and images; None: unknown."""
        if not self._marks:
            return None
        (first, before), (last, after) = self._marks[0], self._marks[-1]
        if after <= before:
            return None
        left = max(int(self.numbers["steps"]) - int(self.numbers["step"]), 0)
        return left * (last - first) / (after - before)

    def _write(self) -> None:
        eta = self.eta_s if self.numbers["doing"] not in ("finished", "stopped", "failed") else None
        shown = self.numbers | {"eta_s": eta, "pid": os.getpid(), "updated": round(time.time(), 3)}
        try:
            write_atomic(self._path, json.dumps(clean(shown)).encode())
        except StorageError as exc:  # what counts will say the same
            log.info("progress is not shown: %s", exc)
