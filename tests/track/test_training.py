"""A training run in a real MLflow store."""

import json

import pytest
from mlflow import MlflowClient

from teststrip.errors import StorageError
from teststrip.track import names
from teststrip.track.connection import Connection
from teststrip.track.training import DATASET, RUN, TrainingTracker, find_training

CONFIG = {"name": "hats", "lora": {"rank": 8}, "steps": 40}


@pytest.fixture
def tracker(home):
    made = TrainingTracker(home)
    made.start("hats", CONFIG, {"teststrip.base": "builtin"})
    return made


def client_of(home):
    return MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")


def history(home, tracker, key):
    points = client_of(home).get_metric_history(tracker.run_id, key)
    return [(point.step, point.value) for point in points]


def test_a_run_has_its_settings_and_says_what_it_is(home, tracker):
    run = client_of(home).get_run(tracker.run_id)
    assert run.data.params == {"name": "hats", "lora.rank": "8", "steps": "40"}
    assert run.data.tags[names.KIND] == "training"
    assert run.data.tags[RUN] == "hats"
    assert run.data.tags["teststrip.base"] == "builtin"
    assert run.info.status == "RUNNING"


def test_numbers_keep_their_step_and_what_is_not_finite_is_left_out(home, tracker):
    tracker.log([{"step": 10, "loss": 0.5, "clip_small@1": 0.2}, {"step": 20, "loss": None}])
    tracker.log([{"step": 20, "loss": float("nan")}, {"step": 30, "loss": 0.25}])
    assert history(home, tracker, "loss") == [(10, 0.5), (30, 0.25)]
    assert history(home, tracker, "clip_small:1") == [(10, 0.2)]


def test_a_killed_run_is_found_again_and_nothing_is_sent_twice(home, tracker):
    rows = [{"step": 10, "loss": 0.5}, {"step": 10, "val_loss": 0.6}, {"step": 20, "loss": 0.4}]
    tracker.log(rows[:2])
    again = TrainingTracker(home)

    assert again.start("hats", CONFIG, {}) == tracker.run_id
    again.log(rows)

    assert history(home, again, "loss") == [(10, 0.5), (20, 0.4)]
    assert history(home, again, "val_loss") == [(10, 0.6)]


def test_a_run_that_goes_back_sends_its_steps_again_and_the_later_counts(home, tracker):
    tracker.log([{"step": 10, "loss": 0.5}, {"step": 20, "loss": 9.0}])
    tracker.rewind(10)
    tracker.log([{"step": 10, "loss": 0.5}, {"step": 20, "loss": 0.4}])
    assert history(home, tracker, "loss") == [(10, 0.5), (20, 9.0), (20, 0.4)]


def test_another_config_is_another_run(home, tracker):
    other = TrainingTracker(home)
    assert other.start("hats", CONFIG | {"steps": 80}, {}) != tracker.run_id


def test_a_trial_is_a_child_of_its_search(home, tracker):
    trial = TrainingTracker(home, parent=tracker.run_id)
    run_id = trial.start("hats-t001", CONFIG, {})
    assert client_of(home).get_run(run_id).data.tags[names.PARENT] == tracker.run_id


def test_files_are_kept_byte_by_byte_and_replaced(home, tracker, tmp_path):
    place = tmp_path / "samples"
    place.mkdir()
    (place / "a-0.png").write_bytes(b"first")
    tracker.folder(place, "samples/0")
    (place / "a-0.png").write_bytes(b"second")
    tracker.folder(place, "samples/0")
    tracker.files([place / "a-0.png", place / "none.png"])
    tracker.folder(place / "none", "samples/1")

    client = client_of(home)
    path = client.download_artifacts(tracker.run_id, "samples/0/a-0.png", str(tmp_path))
    with open(path, "rb") as file:
        assert file.read() == b"second"
    assert {f.path for f in client.list_artifacts(tracker.run_id)} == {"samples", "a-0.png"}


def test_the_data_it_is_trained_on_is_linked(home, tracker):
    digest = "ab" * 32
    tracker.dataset("hats", digest, "/pictures", {"train": 9, "held_out": 3})
    tracker.dataset("hats", digest, "/pictures", {"train": 9, "held_out": 3})

    run = client_of(home).get_run(tracker.run_id)
    (used,) = run.inputs.dataset_inputs
    assert digest.startswith(used.dataset.digest)
    assert json.loads(used.dataset.profile) == {"train": 9, "held_out": 3}
    assert run.data.tags[DATASET] == digest


@pytest.mark.parametrize(
    ("state", "status"),
    [("finished", "FINISHED"), ("stopped", "KILLED"), ("failed", "FAILED")],
)
def test_the_end_is_told_and_a_run_that_goes_on_runs_again(home, tracker, state, status):
    tracker.finish(state, "because")
    run = client_of(home).get_run(tracker.run_id)
    assert run.info.status == status
    assert run.data.tags["teststrip.why"] == "because"

    TrainingTracker(home).start("hats", CONFIG, {})
    assert client_of(home).get_run(tracker.run_id).info.status == "RUNNING"


def test_a_run_is_found_by_its_name(home, tracker):
    found = find_training(Connection(home), "hats")
    assert found.info.run_id == tracker.run_id
    assert find_training(Connection(home), "coats") is None


def test_a_store_that_refuses_is_one_clear_message(home, tracker):
    tracker._run_id = "0" * 32
    with pytest.raises(StorageError, match="cannot record metrics"):
        tracker.log([{"step": 1, "loss": 0.5}])
