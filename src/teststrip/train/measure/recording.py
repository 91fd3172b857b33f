"""What goes to MLflow. A store that is away does not end a training: it is told later.

The run's folder is the record; what the store was not told is kept by name alone, in the run's box
(`teststrip.track.outbox`), so that any later process can say it from the folder.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError, StudyError
from teststrip.track.faults import StoreAway
from teststrip.track.outbox.box import Box
from teststrip.track.outbox.outage import Outage
from teststrip.train.checkpoints import META, Checkpoint
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder

if TYPE_CHECKING:
    from teststrip.track.training import TrainingTracker

log = logging.getLogger(__name__)
EVERY_S = 2.0
SLOT = "untold"
START, TABLE, FILES, END = "start", "table", "files", "end"
Row = Mapping[str, Any]


class Recording:
    """Sends a run's folder to a tracker, little by little; without tracker it does nothing.

    `start` raises StorageError where the store answers and refuses, or is a damaged file of this
    machine; later nothing is raised but for a full disk. `parent`: of the search whose trial it is,
    kept for whoever delivers.
    """

    def __init__(
        self, folder: RunFolder, tracker: "TrainingTracker | None", parent: str = ""
    ) -> None:
        self._folder = folder
        self._tracker = tracker
        self._parent = parent
        self._config: TrainConfig | None = None
        self._waiting: list[Row] = []
        self._undone: dict[str, None] = {}
        self._floor: int | None = None  # the run went back, and has told its steps up to here anew
        self._ending = ("", "")
        self._next = 0.0
        self._kept: dict[str, Any] = {}
        if tracker is not None:
            self._box = tracker.box(folder.name)
            what = f"training run {folder.name!r}"
            self._outage = Outage(what, tracker.uri, self._box.path)

    def start(self, config: TrainConfig) -> None:
        """Open the run, link its data. What an earlier process could not say is said, too."""
        if self._tracker is None:
            return
        self._config = config
        self._undone = {START: None}
        if (kept := self._box.entry(SLOT)) is not None:
            self._take_up(kept.data)
        self._flush(is_first=True)
        self._next = 0.0

    def send(self, rows: Iterable[Row]) -> None:
        """Rows of metrics.jsonl, at once or with the next ones."""
        if self._tracker is None:
            return
        now = time.time()  # a row that is sent again is the same point, see `TrainingTracker.log`
        self._waiting.extend({"time": now, **row} for row in rows)
        if time.monotonic() >= self._next:
            self._flush()

    def rewind(self, step: int) -> None:
        """The run goes on from `step` once more."""
        if self._tracker is not None:
            self._flush()
            self._floor = step
            self._waiting = [row for row in self._waiting if row["step"] <= step]
            self._tracker.rewind(step)

    def images(self, step: int) -> None:
        """The images of a checkpoint, and the table."""
        self._do(f"samples/{step}", TABLE)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        """Where a checkpoint came from: step, hashes, base model, data, code."""
        self._do(f"checkpoints/{checkpoint.step:06d}")

    def finish(self, state: str, why: str) -> None:
        """Send what is left and close the run."""
        if self._tracker is None:
            return
        self._ending = (state, why)
        self._do(FILES, END, at_end=True)
        if self._waiting or self._undone:
            log.warning(
                "training run %s is not complete in MLflow (%s); its folder has all: %s. The rest "
                "is delivered when it is resumed, or by: teststrip track outbox --deliver",
                self._folder.name,
                self._outage.reason,
                self._folder.path,
            )

    def deliver(self, config: TrainConfig, rows: Iterable[Row]) -> int:
        """Say what an earlier process could not; how many things. `rows`: all of metrics.jsonl.

        Raises StorageError where the store is away or refuses, StudyError where another process
        delivers.
        """
        kept = self._box.entry(SLOT) if self._tracker is not None else None
        if kept is None:
            return 0
        self._config, self._undone = config, {START: None}
        self._take_up(kept.data)
        self._waiting = list(rows)
        count = len(self._undone)
        with self._box.delivering():
            self._send()
            self._box.drop(kept)
        return count

    def _do(self, *what: str, at_end: bool = False) -> None:
        if self._tracker is not None:
            for each in what:
                self._undone.pop(each, None)
                self._undone[each] = None
            self._flush(at_end=at_end)

    def _flush(self, *, is_first: bool = False, at_end: bool = False) -> None:
        self._next = time.monotonic() + EVERY_S
        if self._outage.is_on and not self._is_there(at_end=at_end):
            return self._keep()
        count = len(self._undone) + len(self._waiting)
        try:
            if self._box.waits():  # somebody else might deliver just now
                with self._box.delivering():
                    self._send()
                    self._forget()
            else:
                self._send()
        except StudyError as exc:
            self._fails(exc)
        except StorageError as exc:
            if is_first and not isinstance(exc, StoreAway):
                raise
            self._fails(exc)
        else:
            self._outage.ends(count)

    def _is_there(self, *, at_end: bool) -> bool:
        assert self._tracker is not None  # noqa: S101 - the caller looked
        is_time = at_end or self._outage.is_due()
        return is_time and self._outage.answers(self._tracker.connection)

    def _fails(self, exc: Exception) -> None:
        """Nobody knows what arrived: the run is looked up again before anything else is said."""
        self._outage.begins(exc)
        self._outage.lasts(exc)
        self._undone = {START: None} | self._undone
        self._keep()

    def _keep(self) -> None:
        """Write down what is to be said, for this process or another one."""
        now = {
            "do": list(self._undone),
            "end": list(self._ending),
            "floor": self._floor,
            "parent": self._parent,
        }
        if now != self._kept:
            self._box.put(SLOT, now)
            self._kept = now

    def _forget(self) -> None:
        if (kept := self._box.entry(SLOT)) is not None:
            self._box.drop(kept)
        self._kept = {}

    def _take_up(self, kept: Mapping[str, Any]) -> None:
        self._undone |= dict.fromkeys(kept["do"])
        self._floor = kept["floor"]
        self._ending = (kept["end"][0], kept["end"][1])

    def _send(self) -> None:
        """Everything, in order; what was said is forgotten piece by piece."""
        tracker = self._tracker
        assert tracker is not None  # noqa: S101 - the caller looked
        if START in self._undone:
            self._open(tracker)
            del self._undone[START]
        if self._waiting:
            tracker.log(self._waiting)
            if self._floor is not None:
                self._floor = max(self._floor, *(int(row["step"]) for row in self._waiting))
            self._waiting.clear()
        while self._undone:
            what = next(iter(self._undone))
            self._say(tracker, what)
            del self._undone[what]

    def _open(self, tracker: "TrainingTracker") -> None:
        config, folder = self._config, self._folder
        assert config is not None  # noqa: S101 - `start` comes first
        base = {"teststrip.base": config.base.model, "teststrip.training": config.kind}
        tracker.start(config.name, config.model_dump(mode="json"), base)
        if self._floor is not None:
            tracker.rewind(self._floor)
        if folder.exists():
            folder.write(mlflow={"run_id": tracker.run_id, "uri": tracker.uri})
        manifest = _json(folder.manifest)
        if digest := manifest.get("dataset_hash"):
            splits = [str(p.get("split")) for p in manifest.get("pictures", ())]
            counts = {split: splits.count(split) for split in dict.fromkeys(splits)}
            tracker.dataset(config.name, str(digest), config.data.source, counts)
        tracker.files([folder.manifest, folder.yaml, folder.json])

    def _say(self, tracker: "TrainingTracker", what: str) -> None:
        """One thing by its name, from the folder as it is now."""
        folder = self._folder
        if what == TABLE:
            tracker.files([folder.path / "samples.parquet", folder.json])
        elif what == FILES:
            tracker.files([folder.json, folder.held_out, folder.manifest])
        elif what == END:
            tracker.finish(*self._ending)
        elif what.startswith("checkpoints/"):
            meta = folder.path / what / META
            tracker.files([meta], what)
            said = _json(meta)
            if sha256 := said.get("sha256"):
                tracker.tag({"teststrip.checkpoint": f"{said.get('step')} sha256 {sha256}"})
        elif what.startswith("samples/"):
            tracker.folder(folder.path / what, what)


def parent_of(box: Box) -> str:
    """The search whose trial a run that waits is; empty where it is none."""
    kept = box.entry(SLOT)
    return str(kept.data.get("parent") or "") if kept is not None else ""


def _json(path: Any) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
