"""How few requests a recipe takes, and that it is whole after a fault at any of them."""

import json
import threading
from collections import Counter

import pytest
import requests

from teststrip.errors import StorageError
from teststrip.recipe import Recipe
from teststrip.track import names, packs

pytest.importorskip("mlflow")

from mlflow import MlflowClient

from teststrip.track.artifacts import Artifacts
from teststrip.track.mlflow import MlflowTracker
from teststrip.track.reader import open_study

RECIPE = Recipe(guidance=3, steps=15)
CONFIG = {"name": "demo", "space": {"guidance": [3, 7.5]}}
METRICS = {"clip_small@1": 0.25, "clip_small@1.low": 0.21}


def images(count, size=20):
    return {f"{i:03d}-key{i}.png": bytes([i]) * size for i in range(count)}


def record(tracker, recipe=RECIPE, count=3, status="done"):
    return tracker.log_recipe("demo", recipe, {"dummy": 0.5}, METRICS, images(count), status)


@pytest.fixture
def experiment(request):
    return request.node.name[:100]  # the server is other tests' as well


@pytest.fixture
def wire(monkeypatch, server):
    """Requests to the server. `cut(n, lost)`: the n-th from now fails, its answer lost or never
    sent; MLflow's own repeats are off, as the outbox has them."""

    class Wire:
        def __init__(self):
            self.asked, self.cut_at, self.is_lost = [], None, False

        def cut(self, number, *, is_lost):
            self.asked.clear()
            self.cut_at, self.is_lost = number, is_lost

    one, send, lock = Wire(), requests.Session.send, threading.Lock()

    def counted(session, request, **options):
        with lock:
            one.asked.append((request.method, request.path_url.partition("?")[0]))
            is_cut = one.cut_at == len(one.asked) - 1
        if is_cut and not one.is_lost:
            raise requests.ConnectionError("cut before it was sent")
        answer = send(session, request, **options)
        if is_cut:
            raise requests.ConnectionError("cut before the answer came")
        return answer

    monkeypatch.setattr(requests.Session, "send", counted)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return one


def everything(experiment):
    """What the store holds of an experiment, without ids and times."""
    client = MlflowClient()
    runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return sorted(
        (
            run.info.run_name,
            run.info.status,
            sorted(run.data.params.items()),
            sorted((k, v) for k, v in run.data.tags.items() if k != names.PARENT),
            sorted(
                (m.key, m.value)
                for key in run.data.metrics
                for m in client.get_metric_history(run.info.run_id, key)
            ),
            sorted(
                (f.path, f.file_size)
                for folder in (None, names.IMAGES)
                for f in client.list_artifacts(run.info.run_id, folder)
            ),
        )
        for run in runs
    )


def test_a_new_recipe_takes_four_requests_and_the_same_again_none(wire, tmp_path, experiment):
    tracker = MlflowTracker(tmp_path, experiment)
    tracker.start_study("demo", CONFIG)
    wire.asked.clear()

    record(tracker)

    kinds = [(method, path.rpartition("/")[2].partition("-")[0]) for method, path in wire.asked]
    assert kinds == [("POST", "create"), ("PUT", "pictures"), ("POST", "log"), ("POST", "update")]

    wire.asked.clear()
    record(tracker)
    assert wire.asked == []

    record(tracker, count=5)
    assert Counter(method for method, _ in wire.asked) == {"PUT": 1, "POST": 1}


def test_a_study_that_goes_on_asks_once_for_all_its_recipes(wire, tmp_path, experiment):
    first = MlflowTracker(tmp_path, experiment)
    first.start_study("demo", CONFIG)
    for guidance in (3, 4, 5):
        record(first, Recipe(guidance=guidance))

    again = MlflowTracker(tmp_path, experiment)
    again.start_study("demo", CONFIG)
    wire.asked.clear()
    for guidance in (3, 4, 5):
        record(again, Recipe(guidance=guidance))

    assert wire.asked == []


@pytest.mark.parametrize("is_lost", [False, True], ids=["never sent", "answer lost"])
def test_a_fault_at_any_request_leaves_a_record_that_becomes_whole(
    wire, tmp_path, experiment, is_lost
):
    def study(name):
        tracker = MlflowTracker(tmp_path, f"{experiment} {name}")
        tracker.start_study("demo", CONFIG)
        return tracker

    def both(tracker):
        record(tracker)
        record(tracker, count=5)

    both(study("straight"))
    whole = everything(f"{experiment} straight")

    for at in range(6):
        own = f"{at}"
        tracker = study(own)
        wire.cut(at, is_lost=is_lost)
        with pytest.raises(StorageError):
            both(tracker)
        wire.cut(None, is_lost=False)
        other = MlflowTracker(tmp_path, f"{experiment} {own}") if at % 2 else tracker

        both(other)

        assert everything(f"{experiment} {own}") == whole, f"cut at request {at}"


def test_pictures_of_all_kinds_are_found_by_key_and_come_back_as_they_were(
    wire, tmp_path, experiment
):
    tracker = MlflowTracker(tmp_path, experiment)
    tracker.start_study("demo", CONFIG)
    mixed = images(5) | {"005-large.png": bytes(packs.LARGE), "006-larger.png": b"\1" * packs.LARGE}

    tracker.log_recipe("demo", RECIPE, {}, {}, mixed, "done")
    other = Recipe(guidance=4)
    tracker.log_recipe("demo", other, {}, {}, {"000-lonely.png": b"alone"}, "done")
    study = open_study(tmp_path, "demo", experiment)
    wire.asked.clear()

    assert study.pictures() == dict.fromkeys(mixed, RECIPE.recipe_id) | {
        "000-lonely.png": other.recipe_id
    }
    assert len(wire.asked) == 1, "the list of pictures is in the runs' tags"
    wire.asked.clear()
    assert {n: study.png(n.partition("-")[2]) for n in mixed} == mixed
    assert study.png("images/lonely.png") == b"alone"
    read = [path for _, path in wire.asked if "/images/" in path]  # MLflow asks once what it is
    assert len(read) == 4, "one page, three files"


def test_a_page_that_several_threads_want_is_read_once(wire, tmp_path, experiment):
    tracker = MlflowTracker(tmp_path, experiment)
    tracker.start_study("demo", CONFIG)
    record(tracker, count=16)
    study = open_study(tmp_path, "demo", experiment)
    study.prepare()
    wire.asked.clear()
    found, ready = {}, threading.Barrier(8)

    def read(first):
        ready.wait()
        for i in (first, first + 8):
            found[i] = study.png(f"key{i}")

    threads = [threading.Thread(target=read, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == dict(enumerate(images(16).values()))
    assert len(wire.asked) == 1


def earlier(tracker, count):
    """A recipe's run as the first version of Teststrip left it: one file each, no tags of them."""
    parent = tracker.start_study("demo", CONFIG)
    tags = {
        names.PARENT: parent,
        names.RECIPE_ID: RECIPE.recipe_id,
        names.KIND: "recipe",
        names.STUDY: "demo",
    }
    connection = tracker.connection
    run = connection.client.create_run(connection.experiment_id, tags=tags)
    Artifacts(connection).put(run.info.artifact_uri, images(count), names.IMAGES)
    return run.info.run_id


def test_a_record_of_an_earlier_version_is_read_and_goes_on(home):
    run_id = earlier(MlflowTracker(home), 3)
    assert open_study(home, "demo").png("key2") == images(3)["002-key2.png"]

    tracker = MlflowTracker(home)
    tracker.start_study("demo", CONFIG)
    assert record(tracker, count=5) == run_id

    study = open_study(home, "demo")
    assert {name: study.png(name.partition("-")[2]) for name in images(5)} == images(5)
    assert len(study.pictures()) == 5


def test_a_tag_that_somebody_changed_is_told(home):
    tracker = MlflowTracker(home)
    tracker.start_study("demo", CONFIG)
    run_id = record(tracker)
    client = tracker.connection.client
    tag = next(t for t in client.get_run(run_id).data.tags if t.startswith(names.PACK))
    client.set_tag(run_id, tag, "{broken")

    with pytest.raises(StorageError, match=r"is no list of pictures"):
        open_study(home, "demo").png("key0")


def test_tags_name_every_picture(home):
    tracker = MlflowTracker(home)
    tracker.start_study("demo", CONFIG)
    run_id = record(tracker)

    tags = tracker.connection.client.get_run(run_id).data.tags

    assert tags[names.PICTURES] == "3"
    (told,) = [json.loads(v) for k, v in tags.items() if k.startswith(names.PACK)]
    assert told == list(images(3))
