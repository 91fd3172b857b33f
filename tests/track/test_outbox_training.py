"""Trainings and searches while the server is away."""

import json
import logging

import pytest

from teststrip.config import parse
from teststrip.errors import StorageError
from teststrip.testing.between import Between
from teststrip.track import names
from teststrip.track.connection import Connection
from teststrip.track.outbox import outage
from teststrip.track.runs import search_all
from teststrip.track.training import RUN, TrainingTracker
from teststrip.train.checkpoints import Checkpoint
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.measure import written
from teststrip.train.measure.recording import Recording
from teststrip.train.tune.record import KIND, TUNE, TuneRecord, parent_run
from teststrip.wire import outbox


@pytest.fixture
def between(server, home, monkeypatch):
    place = Between(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.address)
    monkeypatch.setattr(outage, "FIRST_S", 0.0)
    monkeypatch.setattr(outage, "REST", 0)
    monkeypatch.setattr("teststrip.train.measure.recording.EVERY_S", 0.0)
    yield place
    place.close()


@pytest.fixture
def name(request):
    """Of its own for each test: they share a server."""
    return request.node.name.replace("[", "-").replace("]", "")[:50]


def folder_of(home, name):
    config = parse(TrainConfig, {"name": name, "data": "pictures", "steps": 40}, "test")
    place = RunFolder.of(home, name)
    place.path.mkdir(parents=True)
    place.write(state="running", kind="lora", config=config.model_dump(mode="json"))
    place.manifest.write_text(json.dumps({"dataset_hash": "ab" * 32, "pictures": []}))
    return config, place


class Training:
    """A run that writes its folder as `Measures` does, and tells its recording."""

    def __init__(self, home, name, parent=""):
        self.config, self.folder = folder_of(home, name)
        tracker = TrainingTracker(home, parent=parent_run(home, parent))
        self.recording = Recording(self.folder, tracker, parent)

    def start(self):
        self.recording.start(self.config)

    def step(self, step):
        rows = [{"step": step, "loss": 1.0 / step, "lr": 1e-4}]
        written.append(self.folder.metrics, rows)
        self.recording.send(rows)

    def measure(self, step):
        place = self.folder.samples / str(step)
        place.mkdir(parents=True)
        (place / "a-0.png").write_bytes(f"picture {step}".encode())
        self.recording.images(step)
        place = self.folder.checkpoints / f"{step:06d}"
        place.mkdir(parents=True)
        meta = {"step": step, "sha256": f"{step:064d}"}
        (place / "checkpoint.json").write_text(json.dumps(meta))
        self.recording.checkpoint(Checkpoint(step, place, place / "weights", meta))

    def finish(self):
        self.folder.write(state="finished")
        self.recording.finish("finished", "")

    def acts(self):
        yield self.start
        for step in (10, 20, 30):
            yield lambda step=step: self.step(step)
            yield lambda step=step: self.measure(step)
        yield self.finish


def slow(*cases):
    """The rest of a law's cases, for the long run."""
    together = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [pytest.param(*case, marks=pytest.mark.slow) for case in together]


def everything(home, **tags):
    client = Connection(home).client
    found = []
    for run in search_all(Connection(home), tags):
        run_id = run.info.run_id
        points = sorted(
            (m.key, m.step, m.value)
            for key in run.data.metrics
            for m in client.get_metric_history(run_id, key)
        )
        files, folders = [], [None]
        while folders:
            for entry in client.list_artifacts(run_id, folders.pop()):
                (folders if entry.is_dir else files).append(entry.path)
        said = {k: v for k, v in run.data.tags.items() if k.startswith("teststrip.checkp")}
        found.append((run.info.status, points, sorted(files), said, len(run.inputs.dataset_inputs)))
    return found


EXPECTED = [
    (
        "FINISHED",
        sorted((k, s, v) for s in (10, 20, 30) for k, v in (("loss", 1.0 / s), ("lr", 1e-4))),
        sorted(
            ["manifest.json", "run.json"]
            + [f"samples/{s}/a-0.png" for s in (10, 20, 30)]
            + [f"checkpoints/{s:06d}/checkpoint.json" for s in (10, 20, 30)]
        ),
        {"teststrip.checkpoint": f"30 sha256 {30:064d}"},
        1,
    )
]


def test_a_healthy_training_leaves_nothing_behind(between, home, name):
    for act in Training(home, name).acts():
        act()

    assert everything(home, **{RUN: name}) == EXPECTED
    assert not (home / "outbox").exists()


@pytest.mark.parametrize(("first", "last"), [(0, 3), (2, 5), *slow((0, 7), (6, 7), (4, 4))])
def test_whenever_it_is_away_all_is_there_at_the_end(between, home, name, first, last, caplog):
    for number, act in enumerate(Training(home, name).acts()):
        if number == first:
            between.away()
        if number == last:
            between.back()
        act()

    assert everything(home, **{RUN: name}) == EXPECTED
    assert outbox.waiting(home).waiting == ()
    assert caplog.text.count("goes on without its record") == (first < last)


@pytest.mark.parametrize("first", [3, *slow(0, 7)])
def test_what_still_waits_at_the_end_is_delivered_later_from_the_folder(
    between, home, name, first, caplog
):
    for number, act in enumerate(Training(home, name).acts()):
        if number == first:
            between.away()
        act()
    assert "track outbox --deliver" in caplog.text
    (waits,) = outbox.waiting(home).waiting
    assert (waits.kind, waits.name) == ("training", name)

    assert [one.name for one in outbox.deliver(home).waiting] == [name]  # still away
    between.back()
    assert outbox.deliver(home).waiting == ()
    assert outbox.deliver(home).delivered == ()

    assert everything(home, **{RUN: name}) == EXPECTED


@pytest.mark.parametrize("number", [3, 8, *slow(5, 9)])
def test_a_lost_answer_makes_no_second_point_and_no_second_run(between, home, name, number):
    count = [0]

    def fault(method, path):
        count[0] += "metadata" not in path and method != "GET"
        return "lose" if count[0] == number else None

    between.fault = fault
    for act in Training(home, name).acts():
        act()

    assert everything(home, **{RUN: name}) == EXPECTED


def test_a_run_that_went_back_while_it_was_away_tells_its_steps_anew(between, home, name):
    training = Training(home, name)
    training.start()
    for step in (10, 20):
        training.step(step)
    between.away()
    training.step(30)
    training.recording.rewind(10)
    training.step(20)
    between.back()
    training.step(30)
    training.finish()

    ((_, points, *_),) = everything(home, **{RUN: name})
    assert [p[1] for p in points if p[0] == "loss"] == [10, 20, 20, 30]


def test_a_wrong_log_in_at_the_start_is_said_at_once(between, home, name):
    between.fault = lambda method, path: 401
    with pytest.raises(StorageError, match="401"):
        Training(home, name).start()


def test_a_process_that_goes_on_with_a_run_says_what_the_last_one_could_not(between, home, name):
    first = Training(home, name)
    acts = list(first.acts())
    for act in acts[:3]:
        act()
    between.away()
    for act in acts[3:5]:
        act()
    between.back()
    again = Recording(first.folder, TrainingTracker(home))
    again.start(first.config)
    again.send(written.rows_of(first.folder.metrics))
    first.recording = again
    for act in acts[5:]:
        act()

    assert everything(home, **{RUN: name}) == EXPECTED
    assert outbox.waiting(home).waiting == ()


class Report:
    """What a search's record takes of its report."""

    state, best, repeats = "finished", None, ()

    def count(self, state):
        return 2 if state == "finished" else 0


@pytest.mark.parametrize("back", [2, *slow(1, 3, 4)])
def test_a_search_that_starts_without_its_server_gets_its_trials_below_it(
    between, home, name, back, caplog
):
    search = TuneRecord(home, name, {"trials": 2})
    trials = []

    def start():
        trials.append(search.start())

    def trial(number):
        for act in Training(home, f"{name}-t{number}", trials[0]).acts():
            act()

    folder = home / "tunes" / name
    folder.mkdir(parents=True)
    (folder / "report.md").write_text("a report")
    between.away()
    acts = [start, lambda: trial(0), lambda: trial(1), lambda: search.finish(Report())]
    for number, act in enumerate(acts):
        if number == back:
            between.back()
        with caplog.at_level(logging.WARNING):
            act()
    if back == 4:
        between.back()
    assert outbox.deliver(home).waiting == ()

    (parent,) = search_all(Connection(home), {names.KIND: KIND, TUNE: name})
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"trials": "2"}
    assert parent.data.metrics["trials_finished"] == 2
    below = search_all(Connection(home), {names.PARENT: parent.info.run_id})
    assert sorted(run.info.run_name for run in below) == [f"{name}-t0", f"{name}-t1"]
    for number in (0, 1):
        assert everything(home, **{RUN: f"{name}-t{number}"}) == EXPECTED
    assert outbox.waiting(home).waiting == ()
