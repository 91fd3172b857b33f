"""What of a run's folder goes to MLflow, and what happens while the store is away."""

import json

import pytest
from mlflow import MlflowClient

from teststrip.config import parse
from teststrip.errors import StorageError
from teststrip.studio.runs import recorded
from teststrip.studio.runs.run import open_run
from teststrip.track.training import TrainingTracker
from teststrip.train.checkpoints import Checkpoint
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.measure.recording import Recording

CONFIG = parse(TrainConfig, {"name": "hats", "data": "pictures", "steps": 40}, "test")
ROWS = [{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.4, "clip_small@1": 0.1}]


class Away(TrainingTracker):
    """A real tracker whose server can be away."""

    is_away = False

    def log(self, rows):
        if self.is_away:
            raise StorageError("MLflow: cannot record metrics")
        super().log(rows)

    def folder(self, path, under):
        if self.is_away:
            raise StorageError("MLflow: cannot record files")
        super().folder(path, under)


@pytest.fixture
def folder(home):
    place = RunFolder.of(home, "hats")
    place.path.mkdir(parents=True)
    place.write(state="running", kind="lora", steps=40, prompts={"a": "a hat"}, scores={})
    pictures = [{"sha256": "0" * 64, "split": "train"}, {"sha256": "1" * 64, "split": "held_out"}]
    place.manifest.write_text(json.dumps({"dataset_hash": "ab" * 32, "pictures": pictures}))
    (place.samples / "0").mkdir(parents=True)
    (place.samples / "0" / "a-0.png").write_bytes(b"a picture")
    return place


@pytest.fixture
def tracker(home):
    return Away(home)


@pytest.fixture
def recording(folder, tracker):
    made = Recording(folder, tracker)
    made.start(CONFIG)
    return made


def paths(home, tracker, under=None):
    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    return {found.path for found in client.list_artifacts(tracker.run_id, under)}


def steps(home, tracker, key="loss"):
    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    return [point.step for point in client.get_metric_history(tracker.run_id, key)]


def checkpoint(folder, step):
    place = folder.checkpoints / f"{step:06d}"
    place.mkdir(parents=True)
    (place / "checkpoint.json").write_text(json.dumps({"step": step, "sha256": "cd" * 32}))
    return Checkpoint(step, place, place / "weights", {"step": step, "sha256": "cd" * 32})


def test_a_run_can_be_read_back_from_the_store_alone(home, folder, recording, tracker):
    recording.send(ROWS)
    recording.images(0)
    recording.checkpoint(checkpoint(folder, 20))
    folder.write(state="finished")
    recording.finish("finished", "")

    assert paths(home, tracker) == {"run.json", "manifest.json", "samples", "checkpoints"}
    assert paths(home, tracker, "checkpoints/000020") == {"checkpoints/000020/checkpoint.json"}
    assert folder.read()["mlflow"]["run_id"] == tracker.run_id
    folder.path.rename(home / "elsewhere")
    recorded.bring(home, "hats")
    run = open_run(home, "hats")
    assert run.head.state == "finished"
    assert run.curves == {"loss": [(10, 0.5), (20, 0.4)], "clip_small@1": [(20, 0.1)]}
    assert [sample.path.read_bytes() for sample in run.samples] == [b"a picture"]


def test_a_store_that_goes_away_does_not_end_the_training_and_gets_the_rest_later(
    home, recording, tracker, caplog
):
    recording.send(ROWS[:1])
    tracker.is_away = True
    recording._next = 0.0
    recording.send(ROWS[1:])
    recording.images(0)
    assert steps(home, tracker) == [10]
    assert caplog.text.count("goes on without its record") == 1

    tracker.is_away = False
    recording.finish("finished", "")

    assert steps(home, tracker) == [10, 20]
    assert paths(home, tracker, "samples/0") == {"samples/0/a-0.png"}
    assert "is not complete" not in caplog.text


def test_a_store_that_stays_away_is_said_at_the_end(recording, tracker, caplog):
    tracker.is_away = True
    recording.send(ROWS)
    recording.finish("finished", "")
    assert "training run hats is not complete in MLflow" in caplog.text


def test_a_server_that_is_away_at_the_start_is_said_and_the_training_goes_on(
    folder, home, monkeypatch, caplog
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    Recording(folder, TrainingTracker(home)).start(CONFIG)
    assert "127.0.0.1:9" in caplog.text
    assert "goes on without its record" in caplog.text


def test_a_damaged_store_is_said_at_the_start(folder, home):
    (home / "mlflow.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StorageError, match=r"mlflow\.db"):
        Recording(folder, TrainingTracker(home)).start(CONFIG)


def test_without_a_tracker_nothing_happens(folder):
    recording = Recording(folder, None)
    recording.start(CONFIG)
    recording.send(ROWS)
    recording.images(0)
    recording.rewind(0)
    recording.finish("finished", "")
    assert "mlflow" not in folder.read()
