"""A real tracking server with log-in, killed in the middle of a study; its database restarted."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from teststrip.errors import StorageError
from teststrip.testing.service_process import until
from teststrip.testing.track_process import TrackProcess
from teststrip.track import names

pytest.importorskip("mlflow")

from teststrip.track.connection import Connection
from teststrip.track.outbox import outage
from teststrip.track.reader import open_study
from teststrip.track.runs import search_all
from teststrip.wire.bench import Bench
from teststrip.wire.outbox import waiting

SCRIPT = Path(__file__).parents[2] / "scripts" / "services.sh"
STUDY = {
    "generator": {"name": "synthetic", "options": {"delay_s": 0.002}},
    "scorers": ["synthetic"],
    "objectives": ["synthetic"],
    "prompts": {"items": [f"prompt {i}" for i in range(4)], "held_out": 0.25},
    "seeds": 2,
    "space": {"steps": {"int": [10, 40], "step": 10}, "guidance": {"float": [2, 8], "step": 3}},
    "design": {"kind": "grid"},
    "race": {"kind": "none"},
}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(outage, "FIRST_S", 0.0)  # a try with every record, not with every pause
    monkeypatch.setattr(outage, "REST", 0)
    return Bench(tmp_path / "client")


def reach(server, monkeypatch):
    for name, value in server.client_env.items():
        monkeypatch.setenv(name, value)


def study_of(bench, name):
    bench.home.mkdir(exist_ok=True)
    path = bench.home / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"name": name} | STUDY))
    return Bench(bench.home).study_from(path)


def run(bench, name, acts=None):
    """Run a study; `acts`: what happens once so many recipes ended. The finished study's result."""
    ended, left = [0], dict(acts or {})

    def on_event(event):
        ended[0] += event.kind == "trial"
        if (act := left.pop(ended[0], None)) is not None:
            act()

    fresh = Bench(bench.home)
    result = fresh.run(study_of(bench, name), on_event)
    assert not left, "the study was over before all of it happened"
    return result


def counted(home, name):
    """All that the server holds of a study, without ids, times and its own name."""
    connection = Connection(home)
    record = open_study(home, name)
    found = []
    for each in search_all(connection, {names.STUDY: name}):
        points = sorted(
            (m.key, m.value, m.step)
            for key in each.data.metrics
            for m in connection.client.get_metric_history(each.info.run_id, key)
            if "seconds" not in key
        )
        params = {k: v for k, v in each.data.params.items() if k != "name"}
        kind, recipe = each.data.tags[names.KIND], each.data.tags.get(names.RECIPE_ID, "")
        said = each.data.tags[names.STATUS]
        found.append((kind, recipe, said, each.info.status, params, points))
    table = record.table()
    pictures = {path: len(record.png(path)) > 0 for path in table["png"]}
    files = sorted(
        f.path for f in connection.client.list_artifacts(record.run_id) if f.path != "study.yaml"
    )
    return sorted(found, key=str), sorted(pictures), files


def deliver():
    done = subprocess.run(
        [sys.executable, "-m", "teststrip", "track", "outbox", "--deliver", "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_a_server_that_is_killed_in_the_middle_of_a_study(tmp_path, bench, monkeypatch, caplog):
    with TrackProcess(tmp_path / "server") as server:
        reach(server, monkeypatch)
        monkeypatch.setenv("TESTSTRIP_HOME", str(bench.home))
        run(bench, "calm")
        expected = counted(bench.home, "calm")
        assert len(expected[0]) == 1 + 13  # the study, its baseline and 12 recipes
        assert not (bench.home / "outbox").exists()

        acts = {2: server.kill, 5: server.start, 7: threading.Thread(target=server.kill).start}
        result = run(bench, "hit", acts)

        assert result.ending == "finished"
        assert caplog.text.count("goes on without its record") == 2
        assert caplog.text.count("is back:") == 1
        assert "track outbox --deliver" in caplog.text
        code, said = deliver()
        assert (code, said["delivered"]) == (1, [])
        assert "does not answer" in said["waiting"][0]["fault"]
        with pytest.raises(StorageError, match="promote needs the tracking server"):
            Bench(bench.home).tracker.is_needed("hit", "promote")

        server.start()
        code, said = deliver()
        assert (code, said["waiting"]) == (0, [])
        assert [one["name"] for one in said["delivered"]] == ["hit"]
        assert counted(bench.home, "hit") == expected
        assert deliver() == (0, {"delivered": [], "waiting": []})

        server.kill()  # away from the first to the last, then by the next command on it
        assert run(bench, "away").ending == "finished"
        server.start()
        assert run(bench, "away").images_now == 0
        assert counted(bench.home, "away") == expected

        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong")
        with pytest.raises(StorageError, match="401"):
            run(bench, "stranger")
        assert waiting(bench.home).waiting == ()


@pytest.mark.service
def test_a_database_that_is_restarted_and_hangs_in_the_middle_of_a_study(
    tmp_path, bench, databases, monkeypatch
):
    def services(*words):
        subprocess.run([str(SCRIPT), *words], check=True, capture_output=True)

    with TrackProcess(tmp_path / "server", settings={"backend": databases}) as server:
        reach(server, monkeypatch)
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
        run(bench, "calm")
        expected = counted(bench.home, "calm")

        acts = {
            2: lambda: services("restart", "postgres", "--kill"),
            5: lambda: services("pause", "postgres", "3"),
            8: lambda: services("hang", "postgres", "6"),
            11: lambda: services("restart", "postgres"),
        }
        assert run(bench, "hit", acts).ending == "finished"
        until(lambda: Connection(bench.home).answers())
        Bench(bench.home).tracker.deliver("hit")

        assert counted(bench.home, "hit") == expected
