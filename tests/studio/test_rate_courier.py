"""Votes reach MLflow with the study's run: soon, later where it is down, joined with others'."""

import shutil

import pytest

from teststrip.study.marks import MARKS, append_mark
from teststrip.study.votes import VOTES, append_votes, stored_votes

mlflow = pytest.importorskip("mlflow")

from teststrip.studio.rate.courier import SENT, Courier  # noqa: E402
from teststrip.track.mlflow import MlflowTracker  # noqa: E402
from teststrip.track.reader import open_study  # noqa: E402
from teststrip.wire.people import recorded_votes  # noqa: E402

DEAD = "http://127.0.0.1:9"  # nothing listens there


def row(name):
    fields = {"prompt_id": "p", "seed": 0, "left": "a", "right": "b", "choice": "left"}
    return {"id": name, "rater": "me"} | fields


@pytest.fixture(scope="module")
def recorded_home(tmp_path_factory):
    """A home whose sqlite store knows study `demo`."""
    home = tmp_path_factory.mktemp("recorded")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        MlflowTracker(home).start_study("demo", {"name": "demo"})
    return home


@pytest.fixture
def folder(recorded_home, tmp_path, monkeypatch):
    """An empty folder of study `demo`; its run in the store has no votes."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for kind in (VOTES, MARKS):
        for sent in (recorded_home / "artifacts").rglob(kind):
            sent.unlink()
    place = recorded_home / "studies/demo"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


@pytest.fixture
def courier(recorded_home):
    return Courier(recorded_home, quiet_s=0.0, retry_s=60.0)


def test_votes_and_marks_are_sent_with_the_run_and_read_back(courier, folder, recorded_home):
    append_votes(folder, [row("x"), row("y")])
    append_mark(folder, {"id": "m", "image_key": "k", "mark": "star", "rater": "me"})
    assert courier.standing(folder).waiting == 3

    courier.post(folder)

    assert courier.settle()
    assert courier.standing(folder).waiting == 0
    assert courier.standing(folder).text == "All votes are in MLflow, too."
    record = open_study(recorded_home, "demo")
    assert record.file(VOTES) == (folder / VOTES).read_bytes()
    assert record.file(MARKS) == (folder / MARKS).read_bytes()
    assert [vote.vote_id for vote in recorded_votes(record)] == ["x", "y"]


def test_while_the_store_is_down_votes_wait_and_are_sent_when_it_is_back(
    recorded_home, folder, monkeypatch
):
    append_votes(folder, [row("x")])
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", DEAD)
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        down = Courier(recorded_home, quiet_s=0.0, retry_s=60.0)
        down.post(folder)
        assert not down.settle()
        told = down.standing(folder)

    assert told.waiting == 1
    assert told.text.startswith(
        "MLflow cannot be reached: 1 entry kept here, sent when it is back."
    )
    assert [v["id"] for v in stored_votes(folder)] == ["x"]
    assert not (folder / SENT).exists()

    back = Courier(recorded_home, quiet_s=0.0)
    assert back.standing(folder).waiting == 1  # asking is enough to send what was left
    assert back.settle()
    assert [v.vote_id for v in recorded_votes(open_study(recorded_home, "demo"))] == ["x"]


def test_a_failed_try_is_made_again_by_itself(recorded_home, folder, monkeypatch):
    courier = Courier(recorded_home, quiet_s=0.0, retry_s=0.02)
    send, tries = Courier.send, []

    def at_last(self, place):
        tries.append(place)
        if len(tries) < 3:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
            monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        else:
            monkeypatch.delenv("MLFLOW_TRACKING_URI")
            self._files = None
        send(self, place)

    monkeypatch.setattr(Courier, "send", at_last)
    append_votes(folder, [row("x")])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", DEAD)
    courier.post(folder)
    with courier._changed:
        assert courier._changed.wait_for(lambda: not courier._due, 60)

    assert len(tries) == 3
    assert courier.standing(folder).text == "All votes are in MLflow, too."


def test_votes_of_another_machine_are_joined_not_overwritten(courier, folder, recorded_home):
    append_votes(folder, [row("x"), row("theirs")])
    courier.send(folder)
    (folder / VOTES).unlink()  # a second machine, which knows neither
    (folder / SENT).unlink()
    append_votes(folder, [row("ours")])

    courier.send(folder)

    assert {v["id"] for v in stored_votes(folder)} == {"x", "theirs", "ours"}
    there = recorded_votes(open_study(recorded_home, "demo"))
    assert {v.vote_id for v in there} == {"x", "theirs", "ours"}


def test_a_study_without_a_record_keeps_its_votes(courier, recorded_home, tmp_path):
    unknown = recorded_home / "studies/unknown"
    unknown.mkdir(parents=True, exist_ok=True)
    append_votes(unknown, [row("x")])
    courier.post(unknown)
    assert courier.settle()
    assert "no record in MLflow" in courier.standing(unknown).text

    alone = Courier(tmp_path)
    append_votes(tmp_path, [row("x")])
    alone.post(tmp_path)
    assert alone._thread is None
    assert alone.standing(tmp_path).kept
    assert not (tmp_path / "mlflow.db").exists()
