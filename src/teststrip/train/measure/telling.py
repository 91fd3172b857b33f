"""A training's record, told by a later process what its own could not say."""

from pathlib import Path

from teststrip.config import parse
from teststrip.errors import StudyError
from teststrip.track.outbox.box import Box
from teststrip.track.training import TrainingTracker
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.measure.recording import Recording, parent_of
from teststrip.train.measure.written import rows_of
from teststrip.train.tune.record import parent_run


def deliver_run(home: Path, box: Box) -> int:
    """Say from a run's folder what waits in its box; how many things.

    Raises StorageError where the store is away or refuses, StudyError where the run is being
    trained (its own process delivers), is delivered by another process, or is gone.
    """
    folder = RunFolder.of(home, box.name)
    if folder.holder() is not None:
        raise StudyError(f"training run {box.name!r} is being trained and delivers by itself")
    config = parse(TrainConfig, folder.read().get("config"), str(folder.json))
    parent = parent_of(box)
    tracker = TrainingTracker(home, box.store.experiment, parent_run(home, parent))
    recording = Recording(folder, tracker, parent)
    return recording.deliver(config, rows_of(folder.metrics))
