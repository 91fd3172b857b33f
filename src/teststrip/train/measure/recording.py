"""What goes to MLflow. A store that is away does not end a training: it is sent later."""

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError
from teststrip.train.checkpoints import META, Checkpoint
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder

if TYPE_CHECKING:
    from teststrip.track.training import TrainingTracker

log = logging.getLogger(__name__)
EVERY_S = 2.0
Row = Mapping[str, Any]


class Recording:
    """Sends a run's folder to a tracker, little by little; without tracker it does nothing.

    The folder is the record: `start` raises StorageError where the store cannot be reached, later
    faults are logged once and what was missed is sent with the next call that works.
    """

    def __init__(self, folder: RunFolder, tracker: "TrainingTracker | None") -> None:
        self._folder = folder
        self._tracker = tracker
        self._waiting: list[Row] = []
        self._undone: dict[str, Callable[[TrainingTracker], None]] = {}
        self._next = 0.0
        self._is_away = False

    def start(self, config: TrainConfig) -> None:
        """Open the run, link its data."""
        if self._tracker is None:
            return
        base = {"teststrip.base": config.base.model, "teststrip.training": config.kind}
        self._tracker.start(config.name, config.model_dump(mode="json"), base)
        if self._folder.exists():
            self._folder.write(mlflow={"run_id": self._tracker.run_id, "uri": self._tracker.uri})
        manifest = _json(self._folder.manifest)
        if digest := manifest.get("dataset_hash"):
            splits = [str(p.get("split")) for p in manifest.get("pictures", ())]
            counts = {split: splits.count(split) for split in dict.fromkeys(splits)}
            self._tracker.dataset(config.name, str(digest), config.data.source, counts)
        self._tracker.files([self._folder.manifest, self._folder.yaml, self._folder.json])

    def send(self, rows: Iterable[Row]) -> None:
        """Rows of metrics.jsonl, at once or with the next ones."""
        if self._tracker is None:
            return
        self._waiting.extend(rows)
        if time.monotonic() >= self._next:
            self._flush()

    def rewind(self, step: int) -> None:
        """The run goes on from `step` once more."""
        if self._tracker is not None:
            self._flush()
            self._tracker.rewind(step)

    def images(self, step: int) -> None:
        """The images of a checkpoint, and the table."""
        folder, name = self._folder, f"samples/{step}"
        self._do(name, lambda tracker: tracker.folder(folder.path / name, name))
        table = folder.path / "samples.parquet"
        self._do("table", lambda tracker: tracker.files([table, folder.json]))

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Where a checkpoint came from: step, hashes, base model, data, code."""
        under = f"checkpoints/{checkpoint.step:06d}"
        self._do(under, lambda tracker: tracker.files([checkpoint.folder / META], under))
        if sha256 := checkpoint.meta.get("sha256"):
            said = {"teststrip.checkpoint": f"{checkpoint.step} sha256 {sha256}"}
            self._do("checkpoint", lambda tracker: tracker.tag(said))

    def finish(self, state: str, why: str) -> None:
        """Send what is left and close the run."""
        files = [self._folder.json, self._folder.held_out, self._folder.manifest]
        self._do("files", lambda tracker: tracker.files(files))
        self._do("end", lambda tracker: tracker.finish(state, why))
        if self._tracker is not None and (self._waiting or self._undone):
            log.warning(
                "training run %s is not complete in MLflow; its folder has all: %s",
                self._folder.name,
                self._folder.path,
            )

    def _do(self, what: str, call: "Callable[[TrainingTracker], None]") -> None:
        if self._tracker is not None:
            self._undone.pop(what, None)
            self._undone[what] = call
            self._flush()

    def _flush(self) -> None:
        if self._tracker is None:
            return
        self._next = time.monotonic() + EVERY_S
        try:
            if self._waiting:
                self._tracker.log(self._waiting)
                self._waiting.clear()
            while self._undone:
                what = next(iter(self._undone))
                self._undone[what](self._tracker)
                del self._undone[what]
        except StorageError as exc:
            self._next = time.monotonic() + 30 * EVERY_S
            if not self._is_away:
                log.warning("the training goes on without its record for now: %s", exc)
            self._is_away = True
        else:
            self._is_away = False


def _json(path: Any) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
