"""Measures: what the loop calls, and all that is written down about a run while it goes."""

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teststrip.files import write_atomic
from teststrip.protocols import Generator, Scorer
from teststrip.train.config import TrainConfig
from teststrip.train.measure import written
from teststrip.train.measure.memory import peak_memory_mb
from teststrip.train.measure.smoothing import Smooth


class Measures:
    """One run's numbers. Only the process that writes the run may have one; one thread at a time.

    `folder`: the run's. `generator` None: no validation images. `tracker` None: nothing goes to
    MLflow.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        generator: Generator | None = None,
        scorers: Sequence[Scorer] = (),
        tracker: Any | None = None,
    ) -> None:
        self.config = config
        self.folder = folder
        self._generator = generator
        self._scorers = scorers
        self._tracker = tracker
        self._held_out: Any | None = None
        self._smooth = Smooth()
        self._logged = 0
        self._metrics = folder / "metrics.jsonl"
        self._losses = folder / "held_out.jsonl"
        self._now: dict[str, Any] = {}

    def start(
        self, model: Any, examples: Any, held_out_examples: Any | None = None, *, step: int = 0
    ) -> None:
        """Begin, or go on after `step`: later lines of an earlier process are cut off.

        `held_out_examples`: made with `held_out.plain(config)`; None or empty: no held-out loss.
        """
        if held_out_examples is not None and len(held_out_examples):
            from teststrip.train.measure.held_out import HeldOut

            self._held_out = HeldOut(model, held_out_examples, self.config)
        self.rewind(step)

    def rewind(self, step: int) -> None:
        """Forget what was logged after `step`: the run goes on from there once more."""
        self._smooth, self._logged = Smooth(), 0
        for row in written.cut_back(self._metrics, step):
            if isinstance(loss := row.get("loss"), float):
                self._smooth.update(loss, row["step"] - self._logged)
                self._logged = row["step"]
        written.cut_back(self._losses, step)
        self._show(step, "training")

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write down what the loop knows: `loss` (mean since the last call), lr, grad_norm, ..."""
        row = dict(numbers)
        loss = row.get("loss")
        if loss is not None and math.isfinite(loss):
            row["loss_ema"] = self._smooth.update(loss, step - self._logged)
            self._logged = step
        row.setdefault("memory_mb", peak_memory_mb())
        written.append(self._metrics, [{"step": step} | row])
        self._now |= {k: row[k] for k in ("loss", "images_per_s") if k in row}
        self._show(step, "training")

    def held_out(self, step: int) -> float | None:
        """Measure the weights that are in the model now; the mean over pictures, None without."""
        if self._held_out is None:
            return None
        found = self._held_out.measure()
        written.append(
            self._losses, ({"step": step, "picture": p, "loss": v} for p, v in found.items())
        )
        mean = math.fsum(found.values()) / len(found)
        written.append(self._metrics, [{"step": step, "val_loss": mean}])
        self._now["val_loss"] = mean
        self._show(step, "training")
        return mean

    def checkpoint(self, checkpoint: Any) -> None:
        """Make and judge the validation images of a checkpoint; step 0 is the base model."""

    def finish(self, state: str, why: str = "") -> None:
        """The run ended: `finished`, `stopped` or `failed`."""
        self._show(self._now.get("step", 0), state)

    def _show(self, step: int, doing: str) -> None:
        self._now |= {"step": step, "steps": self.config.steps, "doing": doing}
        shown = self._now | {"pid": os.getpid(), "updated": round(time.time(), 3)}
        write_atomic(self.folder / "progress.json", json.dumps(shown).encode())
