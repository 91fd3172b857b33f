"""Measures: what the loop calls, and all that is written down about a run while it goes.

metrics.jsonl    a line for each step that is logged, and the means of each checkpoint's scores
held_out.jsonl   a line for each held-out picture and measuring
samples/         validation images, samples.parquet their scores
progress.json    how far it is
"""

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import GenerationError
from teststrip.protocols import Generator, Scorer
from teststrip.train.checkpoints import Checkpoint
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.measure import written
from teststrip.train.measure.judging import Judging
from teststrip.train.measure.memory import peak_memory_mb
from teststrip.train.measure.recording import Recording
from teststrip.train.measure.smoothing import Smooth
from teststrip.train.measure.standing import Standing
from teststrip.train.measure.validation import BASE, Validation

if TYPE_CHECKING:
    from teststrip.track.training import TrainingTracker
    from teststrip.train.data.examples import Examples
    from teststrip.train.data.picture import Picture
    from teststrip.train.measure.held_out import HeldOut
    from teststrip.train.model import Trainable

log = logging.getLogger(__name__)


class Measures:
    """One run's numbers. Only the process that writes the run has one; one thread at a time.

    `folder`: the run's. Without `generator` or validation prompts there are no images, without
    `tracker` nothing goes to MLflow. `parent`: see `Recording`. `owned`: a generator that `close`
    closes. Raises ConfigError where the validation recipe is wrong.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: Path,
        generator: Generator | None = None,
        scorers: Sequence[Scorer] = (),
        tracker: "TrainingTracker | None" = None,
        *,
        parent: str = "",
    ) -> None:
        self.config = config
        self.folder = RunFolder(folder)
        self._scorers = scorers
        self._recording = Recording(self.folder, tracker, parent)
        self._standing = Standing(self.folder.progress, config.steps)
        self._held_out: HeldOut | None = None
        self._validation: Validation | None = None
        self._judging: Judging | None = None
        if generator is not None and config.validation.prompts:
            self._validation = Validation(config, folder, generator)
        self.owned: Generator | None = None
        self._measured: dict[int, float] = {}
        self._smooth, self._logged = Smooth(), 0

    def start(
        self,
        model: "Trainable",
        examples: "Examples",
        held_out_examples: "Examples | None" = None,
        *,
        step: int = 0,
    ) -> None:
        """Begin, or go on after `step`: what an earlier process wrote later is cut off.

        Measures the held-out loss and makes the images of step 0, the base model, where they are
        missing. Without held-out examples there is no held-out loss.
        """
        held_out: Sequence[Picture] = ()
        if held_out_examples is not None and len(held_out_examples):
            from teststrip.train.measure.held_out import HeldOut

            self._held_out = HeldOut(model, held_out_examples, self.config)
            held_out = held_out_examples.pictures
        if self._validation is not None:
            from teststrip.train.measure.nearest import Closeness, clip_options

            closeness = Closeness(examples.pictures, held_out, clip_options(self.config))
            self._judging = Judging(self.folder.path, self._scorers, closeness)
            if self.folder.exists():
                self.folder.write(prompts=self._validation.prompts, scores=self._judging.columns)
        self._recording.start(self.config)
        self._cut_back(step)
        self._recording.send(written.rows_of(self.folder.metrics))
        self._standing.begin(step)
        if step == BASE:
            self.held_out(BASE)
        self._images(BASE, None)
        self._standing.begin(step)

    def rewind(self, step: int) -> None:
        """Forget what was measured after `step`: the run goes on from there once more."""
        self._cut_back(step)
        self._recording.rewind(step)
        self._standing.begin(step)

    def doing(self, what: str) -> None:
        """Say what the run does now, for who watches: `caching 12 of 40`."""
        self._standing.tell(doing=what)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Write down what the loop knows: `loss` (mean since the last call), `lr`, `grad_norm`,
        `images_per_s`, ... `loss_ema` and `memory_mb` are added. What is not finite becomes null.
        """
        row = dict(numbers)
        loss = row.get("loss")
        if loss is not None and math.isfinite(loss):
            row["loss_ema"] = self._smooth.update(loss, step - self._logged)
            if self.config.classic_ema:
                row["loss_ema_classic"] = self._smooth.classic
            self._logged = step
        row.setdefault("memory_mb", peak_memory_mb())
        self._write(step, row)
        shown = {k: row[k] for k in ("loss", "loss_ema", "images_per_s") if k in row}
        self._standing.reached(step, **shown)

    def held_out(self, step: int) -> float | None:
        """Measure the weights that are in the model now; the mean over pictures, None without any.

        A step is measured once: asked again, it is told again.
        """
        if self._held_out is None:
            return None
        if step not in self._measured:
            self._standing.tell(doing="held-out loss")
            found = self._held_out.measure()
            written.append(
                self.folder.held_out,
                [{"step": step, "picture": picture, "loss": v} for picture, v in found.items()],
            )
            self._measured[step] = math.fsum(found.values()) / len(found)
            self._write(step, {"val_loss": self._measured[step]})
        self._standing.tell(step=step, doing="training", val_loss=self._measured[step])
        return self._measured[step]

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Make and judge the validation images of a checkpoint; record it. Step 0: the base model.

        Called again it does what is missing. An image that cannot be made does not end the run.
        """
        is_base = checkpoint.step == BASE
        self._images(checkpoint.step, None if is_base else checkpoint.weights)
        self._recording.checkpoint(checkpoint)

    def finish(self, state: str, why: str = "") -> None:
        """The run ended: `finished`, `stopped` or `failed`, and why."""
        if self.folder.exists():
            self.folder.write(state=state, why=why or None)
        self._standing.tell(doing=state, now=True)
        self._recording.finish(state, why)

    def close(self) -> None:
        """Free the generator, where it is the measures' own; twice is harmless."""
        if self.owned is not None:
            self.owned.close()

    def _images(self, step: int, weights: Path | None) -> None:
        if self._validation is None or self._judging is None:
            return
        if self._judging.scored(step) == len(self._validation.blocks):
            return
        self._standing.tell(doing="validation images")
        try:
            made, failed = self._validation.make(
                step, weights, lambda done, of: self._standing.tell(doing=f"image {done} of {of}")
            )
        except GenerationError as exc:
            log.warning("step %d: no validation images: %s", step, exc)
            return
        self._standing.tell(doing="scoring images")
        paths = [self._validation.path(step, image.request.block) for image in made]
        means = self._judging.judge(step, made, paths)
        if failed:
            means["images_failed"] = float(len(failed))
        self._write(step, means)
        self._recording.images(step)
        self._standing.tell(doing="training")

    def _write(self, step: int, row: Mapping[str, Any]) -> None:
        line = {"step": step} | dict(row)
        written.append(self.folder.metrics, [line])
        self._recording.send([line])

    def _cut_back(self, step: int) -> None:
        self._smooth, self._logged = Smooth(), 0
        for row in written.cut_back(self.folder.metrics, step):
            loss = row.get("loss")
            if isinstance(loss, float) and math.isfinite(loss):
                self._smooth.update(loss, row["step"] - self._logged)
                self._logged = row["step"]
        losses: dict[int, dict[str, float]] = {}
        for row in written.cut_back(self.folder.held_out, step):
            losses.setdefault(row["step"], {})[row["picture"]] = row["loss"]
        self._measured = {at: math.fsum(of.values()) / len(of) for at, of in losses.items()}
        if self._validation is not None and self._judging is not None:
            self._validation.forget_after(step)
            self._judging.forget_after(step)
