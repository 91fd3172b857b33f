"""How far a running study is, in a small file that others may read: `progress.json`.

It is advice, not the record: ledger and journal are. So it is written whole or not at all, at most
twice a second, and a disk that refuses it does not stop a study.
"""

import json
import logging
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.errors import StorageError
from teststrip.files import write_atomic
from teststrip.study.result import Event

if TYPE_CHECKING:
    from teststrip.study.runner import Runner

log = logging.getLogger(__name__)
EVERY_S = 0.5
RECENT = 128  # images that the present rate is taken from
MOST_REASONS = 5
Numbers = dict[str, Any]


class ProgressFile:
    """Writes what `standing` says of each event, as often as is cheap."""

    def __init__(self, path: Path, standing: Callable[[], Numbers]) -> None:
        self._path = path
        self._standing = standing
        self._event: Event | None = None
        self._next = 0.0
        self._tried = 0
        self._began = time.time()
        self._marks = deque([(time.monotonic(), 0)], maxlen=RECENT)

    def note(self, event: Event) -> None:
        """Take an event in; write it if the last writing was long enough ago."""
        now = time.monotonic()
        self._event = event
        if event.kind == "image":
            self._tried += 1
            self._marks.append((now, self._tried))
        elif not self._tried:  # what is replayed says nothing about the rate
            self._marks = deque([(now, 0)], maxlen=RECENT)
        if now >= self._next or event.kind == "end":
            self.write()
            spent = time.monotonic() - now
            self._next = now + max(EVERY_S, 20 * spent)

    def write(self) -> None:
        """Write the last event now; nothing before the first."""
        if self._event is None:
            return
        try:
            write_atomic(self._path, json.dumps(self._numbers(self._event)).encode())
        except StorageError as exc:  # the ledger will say the same, and it counts
            log.info("progress is not shown: %s", exc)

    def _numbers(self, event: Event) -> Numbers:
        (first, before), (last, after) = self._marks[0], self._marks[-1]
        rate = (after - before) / (last - first) if last > first else None
        left = max(event.images_expected - event.images, 0)
        return {
            "pid": os.getpid(),
            "began": round(self._began, 3),
            "updated": round(time.time(), 3),
            "images": event.images,
            "images_expected": event.images_expected,
            "images_left": left,
            "images_saved": event.images_saved,
            "images_now": self._tried,
            "images_per_s": rate,
            "eta_s": left / rate if rate else None,
            "best": event.best,
            "best_value": event.best_value,
        } | self._standing()


def standing(runner: "Runner") -> Numbers:
    """What an event does not say: the leader against the baseline by prompt, failures by reason.

    `best_gains`: prompt id -> mean paired difference to the baseline, in the objective's own
    sense, over the `best_blocks` that both have. `is_exact`: images_expected is no estimate.
    """
    reasons = runner.ledger.reasons()
    best = runner.best_so_far
    gains, blocks = _gains(runner, best) if best else ({}, 0)
    base = runner.baseline.model_dump(mode="json")
    recipe = runner.recipes.get(best)
    fields = recipe.model_dump(mode="json") if recipe else {}
    return {
        "doing": "confirm" if runner.is_confirming else "search",
        "is_exact": runner.is_exact,
        "objective": runner.primary.column,
        "higher_is_better": runner.primary.highest_is_best,
        "baseline": runner.baseline.recipe_id,
        "best_settings": {k: v for k, v in fields.items() if v != base.get(k)},
        "best_blocks": blocks,
        "best_gains": gains,
        "failed": sum(reasons.values()),
        "failures": dict(reasons.most_common(MOST_REASONS)),
    }


def _gains(runner: "Runner", best: str) -> tuple[dict[str, float], int]:
    blocks = runner.config.blocks
    base = np.array(runner.cells.values(runner.baseline.recipe_id, blocks, runner.primary))
    gain = np.array(runner.cells.values(best, blocks, runner.primary)) - base
    by_prompt: dict[str, list[float]] = {}
    for block, value in zip(blocks, gain.tolist(), strict=True):
        if np.isfinite(value):
            by_prompt.setdefault(block.block.prompt_id, []).append(value)
    means = {prompt: float(np.mean(values)) for prompt, values in by_prompt.items()}
    return means, sum(map(len, by_prompt.values()))
