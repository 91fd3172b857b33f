"""A study's record while the server is away: nothing is lost, nothing is there twice."""

import json
import logging
import time
from urllib.parse import quote

import pytest

from teststrip.cli.main import main
from teststrip.errors import StorageError
from teststrip.recipe import Recipe
from teststrip.testing.between import Between
from teststrip.testing.conformance import TrackerConformance
from teststrip.track import names

pytest.importorskip("mlflow")

from teststrip.track.connection import Connection
from teststrip.track.outbox import outage
from teststrip.track.outbox.box import Store
from teststrip.track.outbox.tracker import StudyTracker
from teststrip.track.runs import search_all

RECIPES = [Recipe(steps=steps) for steps in (5, 6, 7)]


@pytest.fixture
def between(server, home, monkeypatch):
    """The way to a real server; MLFLOW_TRACKING_URI leads through it."""
    place = Between(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.address)
    monkeypatch.setattr(outage, "FIRST_S", 0.0)  # a try with every call
    monkeypatch.setattr(outage, "REST", 0)
    yield place
    place.close()


@pytest.fixture
def study(request):
    """A name of its own for each test: they share a server."""
    return request.node.name.replace("[", "-").replace("]", "")[:60]


@pytest.fixture
def tracker(between, home):
    return StudyTracker(home)


def images(*blocks):
    return {f"{block:03d}-key{block}.png": b"\x89PNG" + bytes([block]) * 50 for block in blocks}


def start(tracker, study):
    return tracker.start_study(study, {"seeds": 2})


def recipe(tracker, study, n, *blocks, score=0.25):
    metrics = {"clip_small@1": score, "blocks": float(len(blocks))}
    pictures = images(*(blocks or (0, 1)))
    return tracker.log_recipe(study, RECIPES[n], {"steps": n}, metrics, pictures, "done")


def finish(tracker, study, status="finished"):
    tracker.log_evidence(study, {r.recipe_id: {"gain": 0.5} for r in RECIPES})
    tracker.finish_study(study, {"images": 6.0}, {"images.parquet": b"table"}, status)


def whole(tracker, study):
    start(tracker, study)
    for n in range(3):
        recipe(tracker, study, n, 0, 1)
    finish(tracker, study)


def everything(home, study):
    """All that the server holds of a study: runs, points of metrics, files."""
    connection = Connection(home)
    client = connection.client
    found = {"study": [], "recipe": []}
    for run in search_all(connection, {names.STUDY: study}):
        run_id = run.info.run_id
        points = sorted(
            (m.key, m.value, m.step)
            for key in run.data.metrics
            for m in client.get_metric_history(run_id, key)
        )
        files = sorted(
            (f.path, f.file_size)
            for folder in (None, names.IMAGES)
            for f in client.list_artifacts(run_id, folder)
        )
        tags = run.data.tags
        found[tags[names.KIND]].append(
            (tags.get(names.RECIPE_ID), run.info.status, run.data.params, points, files)
        )
    return {kind: sorted(rows, key=str) for kind, rows in found.items()}


def waiting(home, between):
    return [box.name for box in Store(home.resolve(), between.address, "teststrip").boxes()]


@pytest.fixture(scope="module")
def expected(server, tmp_path_factory):
    """What the server holds of a study that nothing happened to."""
    home = tmp_path_factory.mktemp("calm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", server)
        whole(StudyTracker(home), "calm")
        return everything(home, "calm")


class TestContract(TrackerConformance):
    @pytest.fixture
    def tracker(self, between, home):
        return StudyTracker(home)


class TestContractAtHome(TrackerConformance):
    @pytest.fixture
    def tracker(self, home):
        return StudyTracker(home)


def test_a_healthy_server_is_told_directly_and_nothing_waits(
    between, home, tracker, study, expected
):
    whole(tracker, study)

    assert everything(home, study) == expected
    assert not (home / "outbox").exists()


@pytest.mark.parametrize("when", [0, 1, 3, 4, pytest.param(2, marks=pytest.mark.slow)])
def test_whenever_it_goes_away_all_is_there_once_it_is_back(
    between, home, tracker, study, expected, when, caplog
):
    for step, call in enumerate(
        [
            lambda: start(tracker, study),
            lambda: recipe(tracker, study, 0, 0, 1),
            lambda: recipe(tracker, study, 1, 0, 1),
            lambda: recipe(tracker, study, 2, 0, 1),
            lambda: finish(tracker, study),
        ]
    ):
        if step == when:
            between.away()
        call()
    assert waiting(home, between) == [study]
    tracker.say_waiting(study)
    assert "track outbox --deliver" in caplog.text
    between.back()
    assert tracker.deliver(study) > 0

    assert waiting(home, between) == []
    assert everything(home, study) == expected
    assert caplog.text.count("goes on without its record") == 1
    assert caplog.text.count("is back:") == 1


QUICK = [("lose", 3), ("lose", 7), ("cut", 9), (503, 4)]
REST = [(what, n) for what in ("lose", "cut", 503) for n in range(1, 25) if (what, n) not in QUICK]


@pytest.mark.parametrize(
    ("what", "number"),
    [*QUICK, *(pytest.param(*one, marks=pytest.mark.slow) for one in REST)],
)
def test_whichever_request_fails_nothing_is_lost_and_nothing_there_twice(
    between, home, tracker, study, expected, what, number
):
    count = [0]

    def fault(method, path):
        count[0] += 1
        return what if count[0] == number else None

    between.fault = fault
    whole(tracker, study)
    between.back()

    assert waiting(home, between) == []
    assert everything(home, study) == expected


def test_a_run_whose_answer_was_lost_is_found_and_not_made_again(
    between, home, tracker, study, expected
):
    start(tracker, study)
    between.once("lose", "/runs/create")

    recipe(tracker, study, 0, 0, 1)
    for n in (1, 2):
        recipe(tracker, study, n, 0, 1)
    finish(tracker, study)

    assert everything(home, study) == expected
    assert sum(path.endswith("/runs/create") for _, path in between.seen) == 4


def test_a_run_that_a_slow_server_makes_long_after_is_taken_away_again(
    between, home, tracker, study, expected
):
    run_id = start(tracker, study)
    between.once("cut", "/runs/create")
    recipe(tracker, study, 0, 0, 1)
    connection = Connection(home)
    tags = {
        names.KIND: "recipe",
        names.STUDY: study,
        names.PARENT: run_id,
        names.RECIPE_ID: RECIPES[0].recipe_id,
    }
    connection.client.create_run(connection.experiment_id, tags=tags)  # the late one
    between.once("cut", "/runs/create")
    recipe(tracker, study, 1, 0, 1)
    recipe(tracker, study, 2, 0, 1)
    finish(tracker, study)

    assert everything(home, study) == expected


def test_a_recipe_that_comes_again_while_it_waits_takes_one_place(
    between, home, tracker, study, expected
):
    between.away()
    start(tracker, study)
    for n in range(3):
        recipe(tracker, study, n, 0, score=0.125)
        recipe(tracker, study, n, 0, 1)
    finish(tracker, study, "killed")
    finish(tracker, study)
    assert tracker.waiting(study) == 6
    between.back()

    tracker.deliver(study)

    assert everything(home, study) == expected


def test_the_next_process_delivers_what_the_last_one_left(between, home, tracker, study, expected):
    start(tracker, study)
    recipe(tracker, study, 0, 0, 1)
    between.away()
    recipe(tracker, study, 1, 0, 1)
    between.back()
    del tracker

    again = StudyTracker(home)
    start(again, study)
    recipe(again, study, 2, 0, 1)
    finish(again, study)

    assert everything(home, study) == expected


def test_a_hung_server_stalls_a_study_once_and_then_hardly(
    between, home, tracker, study, monkeypatch
):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setattr("teststrip.track.connection.PROBE_S", 0.2)
    monkeypatch.setattr(outage, "REST", 300)  # in effect the longest pause
    start(tracker, study)
    between.fault = lambda method, path: "hang"

    recipe(tracker, study, 0)
    seen = len(between.seen)
    for n in (1, 2):
        recipe(tracker, study, n)

    assert len(between.seen) == seen  # nothing was asked of it meanwhile
    assert tracker.waiting(study) == 4


def test_two_who_deliver_at_once_do_no_harm(between, home, tracker, study, expected):
    from concurrent.futures import ThreadPoolExecutor

    between.away()
    whole(tracker, study)
    between.back()

    def deliver(_):
        try:
            return StudyTracker(home).deliver(study)
        except StorageError as exc:
            return str(exc)

    with ThreadPoolExecutor(2) as pool:
        found = set(pool.map(deliver, range(2)))

    assert 5 in found
    assert all("another process" in str(other) for other in found - {5, 0})
    assert everything(home, study) == expected


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_at_the_start_is_no_outage(between, home, tracker, study, status):
    between.fault = lambda method, path: status

    with pytest.raises(StorageError, match=quote(between.address, safe=":/")):
        start(tracker, study)

    assert waiting(home, between) == []


def test_a_refusal_later_keeps_the_record(between, home, tracker, study, expected):
    start(tracker, study)
    between.fault = lambda method, path: 401
    recipe(tracker, study, 0, 0, 1)
    assert waiting(home, between) == [study]
    between.back()
    for n in (1, 2):
        recipe(tracker, study, n, 0, 1)
    finish(tracker, study)

    assert everything(home, study) == expected


def test_one_record_that_is_refused_does_not_hold_up_the_others(
    between, home, tracker, study, caplog
):
    start(tracker, study)
    between.fault = lambda method, path: 413 if method == "PUT" and "key7" in path else None
    recipe(tracker, study, 0, 7)
    recipe(tracker, study, 1, 0, 1)
    finish(tracker, study)
    tracker.say_waiting(study)

    assert [row[1] for row in everything(home, study)["study"]] == ["FINISHED"]
    assert tracker.waiting(study) == 1
    assert "413" in caplog.records[-1].getMessage()
    between.back()
    assert tracker.deliver(study) == 1
    assert waiting(home, between) == []


def test_no_password_is_kept_or_shown(server, home, study, monkeypatch, caplog):
    place = Between(server)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", place.address.replace("//", "//me:hidden-word@"))
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hidden-word")
    place.away()
    tracker = StudyTracker(home)
    with caplog.at_level(logging.DEBUG, "teststrip"):
        whole(tracker, study)
        tracker.say_waiting(study)
    place.close()

    kept = b"".join(f.read_bytes() for f in (home / "outbox").rglob("*") if f.is_file())
    assert b"hidden-word" not in kept
    assert "hidden-word" not in caplog.text


def test_a_server_that_hangs_is_left_alone_ten_times_as_long_as_asking_took(home):
    asked = outage.Outage("study 'a'", "http://a", home)
    asked.begins("gone")
    asked.lasts(took_s=5)
    assert asked._next - time.monotonic() == pytest.approx(50, abs=0.5)


def test_pauses_grow_to_a_minute(home):
    asked = outage.Outage("study 'a'", "http://a", home)
    asked.begins("gone")
    assert asked.is_due()
    pauses = []
    for _ in range(9):
        asked.lasts()
        pauses.append(asked._next - time.monotonic())
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60], abs=0.5)


def test_a_server_with_a_new_address_gets_what_waits_only_when_that_is_said(
    server, between, home, tracker, study, expected, monkeypatch, capsys
):
    monkeypatch.setenv("TESTSTRIP_HOME", str(home))
    between.away()
    whole(tracker, study)
    between.back()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)  # the same server

    assert main(["track", "outbox"]) == 0
    listed = capsys.readouterr().out
    assert between.address in listed
    assert study in listed
    assert main(["track", "outbox", "--deliver", "--json"]) == 1
    (left,) = json.loads(capsys.readouterr().out)["waiting"]
    assert "--moved" in left["fault"]
    assert main(["track", "outbox", "--deliver", "--moved"]) == 0
    assert "5 records delivered" in capsys.readouterr().out

    assert everything(home, study) == expected
    assert main(["track", "outbox"]) == 0
    assert capsys.readouterr().out.strip() == "nothing waits"


def test_to_deliver_needs_an_address(between, home, tracker, study, monkeypatch, capsys):
    monkeypatch.setenv("TESTSTRIP_HOME", str(home))
    between.away()
    start(tracker, study)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")

    assert main(["track", "outbox", "--deliver"]) == 2
    assert between.address in capsys.readouterr().err
    assert main(["track", "outbox", "--moved"]) == 2


def test_what_needs_the_server_says_so_and_is_done_when_it_is_back(between, home, tracker, study):
    start(tracker, study)
    between.away()
    with pytest.raises(StorageError, match="promote needs the tracking server"):
        tracker.is_needed(study, "promote")
    recipe(tracker, study, 0)
    with pytest.raises(StorageError, match="2 records of study"):
        tracker.is_needed(study, "promote")
    between.back()
    tracker.is_needed(study, "promote")
    assert tracker.waiting(study) == 0
