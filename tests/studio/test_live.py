"""/live: real studies in real processes are watched, stopped, resumed and started once."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from starlette.testclient import TestClient

from teststrip import Study
from teststrip.studio.app import create_app
from teststrip.study.folder import StudyFolder
from teststrip.wire.serving import below
from teststrip.wire.studio import parts

TIMES = ["started", "finished", "seconds"]


def config(name: str, delay_s: float, **changes) -> dict:
    return {
        "name": name,
        "generator": {"name": "synthetic", "options": {"delay_s": delay_s}},
        "scorers": ["synthetic"],
        "objectives": ["synthetic"],
        "prompts": {"items": [f"a <b>fox</b> {i}" for i in range(8)], "held_out": 0.25},
        "seeds": 2,
        "space": {"steps": {"int": [10, 40], "step": 10}, "guidance": [2.0, 5.0, 8.0]},
        "design": {"kind": "grid"},
        "race": {"start": 2, "top": 12},
    } | changes


def start(home: Path, study: dict) -> subprocess.Popen:
    path = home / f"{study['name']}.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    code = f"from teststrip import Study; Study.from_yaml({str(path)!r}, home={str(home)!r}).run()"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def until(condition, seconds: float = 60.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
    return found


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path


@pytest.fixture
def client(home):
    made = parts(home, in_memory=True)
    with TestClient(create_app(made), base_url="http://127.0.0.1") as client:
        client.made = made
        yield client
    made.pictures.close()
    made.index.close()


def state(client, name: str) -> dict:
    found = client.get("/live/studies.json").json()["studies"]
    return next((s for s in found if s["name"] == name), {"state": "unknown", "images": 0})


def press(client, path: str, **form):
    client.get("/live")
    token = client.cookies["teststrip_csrf"]
    return client.post(path, data=form, headers={"X-CSRF-Token": token})


def reaped(client, name: str) -> int:
    """Wait for the child that a button started; its exit code."""
    launcher = client.app.state.launcher
    return until(lambda: launcher.exit_code(name) is not None) and launcher.exit_code(name)


def test_without_studies_the_page_says_how_to_start_one(client):
    page = client.get("/live")

    assert page.status_code == 200
    assert "Nothing running" in page.text
    assert "teststrip study run FILE" in page.text


def test_a_running_study_is_shown_stopped_and_resumed_to_the_straight_runs_table(client, home):
    straight = Study(config("watched", 0.0), home=home / "straight").run()
    process = start(home, config("watched", 0.03))

    running = until(lambda: (s := state(client, "watched"))["images"] >= 5 and s)
    assert running["state"] == "running"
    assert running["expected"] == straight.images
    assert running["is_exact"]
    assert running["per_minute"] > 0
    assert running["eta_s"] == pytest.approx(
        60 * (running["expected"] - running["images"]) / running["per_minute"]
    )
    twice = press(client, "/live/watched/resume")
    assert twice.status_code == 409
    assert "running already" in twice.json()["error"]

    answer = press(client, "/live/watched/stop")
    assert answer.status_code == 202
    process.communicate(timeout=30)
    stopped = state(client, "watched")
    kept = {p.name for p in (home / "studies/watched/images").glob("*/*.png")}
    assert (stopped["state"], stopped["why"]) == ("stopped", "the studio")
    assert stopped["images"] == len(kept) < stopped["expected"]
    assert stopped["can_resume"]

    assert press(client, "/live/watched/resume").status_code == 202
    assert state(client, "watched")["state"] in ("starting", "running")
    assert press(client, "/live/watched/resume").status_code == 409
    assert reaped(client, "watched") == 0
    ended = state(client, "watched")
    assert (ended["state"], ended["images"]) == ("finished", straight.images)
    assert ended["saved"] == straight.images_saved
    assert kept < {p.name for p in (home / "studies/watched/images").glob("*/*.png")}
    assert "$ teststrip study resume watched" in (home / "studies/watched/run.log").read_text()
    pd.testing.assert_frame_equal(
        pd.read_parquet(home / "studies/watched/images.parquet").drop(columns=TIMES),
        pd.read_parquet(straight.table).drop(columns=TIMES),
    )


def test_what_did_not_change_is_304_and_the_wait_is_told(client, home):
    Study(config("quiet", 0.0), home=home).run()

    first = client.get("/live/studies")
    again = client.get("/live/studies", headers={"If-None-Match": first.headers["etag"]})
    assert (first.status_code, again.status_code) == (200, 304)
    assert again.content == b""
    assert first.headers["retry-after"] == again.headers["retry-after"] == "10"

    with StudyFolder(home / "studies/quiet").locked():
        now = client.get("/live/studies", headers={"If-None-Match": first.headers["etag"]})
    assert now.status_code == 200
    assert now.headers["retry-after"] == "1"


def test_newest_images_lead_to_the_wall_and_their_prompts_stay_text(client, home):
    result = Study(config("shown", 0.0), home=home).run()
    client.made.index.refresh(home)

    page = client.get("/live").text
    found = state(client, "shown")
    assert len(found["newest"]) == 6
    assert found["newest"][0]["finished"] == max(s["finished"] for s in found["newest"])
    assert all(s["score"] is not None for s in found["newest"])
    assert f"/wall?study=shown&amp;f.recipe_id={found['newest'][0]['recipe_id']}" in page
    assert "<b>fox</b>" not in page
    assert "&lt;b&gt;fox&lt;/b&gt;" in page
    thumb = client.get(f"/thumbs/96/shown/{found['newest'][0]['key']}.webp")
    assert thumb.headers["content-type"] == "image/webp"
    gain = found["leader"]["gain"]
    assert found["leader"]["recipe_id"] == result.best.recipe_id
    assert gain["mean"] == pytest.approx(result.best_value - result.baseline_value)
    assert gain["low"] < gain["mean"] < gain["high"]
    assert gain["units"] == 6


def test_a_study_that_cannot_start_again_shows_what_its_process_said(client, home):
    process = start(home, config("lost", 0.03))
    until(lambda: state(client, "lost")["images"] >= 2)
    process.kill()
    process.communicate()
    assert state(client, "lost")["state"] == "interrupted"

    record = StudyFolder(home / "studies/lost")
    record.write(
        config=record.read()["config"] | {"generator": {"name": "nowhere:Nobody", "options": {}}}
    )
    assert press(client, "/live/lost/resume").status_code == 202
    assert reaped(client, "lost") != 0

    assert "cannot import" in state(client, "lost")["log"]
    assert "cannot import" in client.get("/live").text


def test_a_used_up_budget_may_grow(client, home):
    study = config("short", 0.0, budget={"images": 60})
    path = home / "short.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    Study.from_yaml(path, home=home).run()
    assert state(client, "short")["state"] == "budget"
    assert 'name="images" value="60"' in client.get("/live").text

    assert press(client, "/live/short/resume", images="nonsense").status_code == 422
    assert press(client, "/live/short/resume", images="400").status_code == 202
    assert reaped(client, "short") == 0
    assert state(client, "short")["state"] == "finished"


@pytest.mark.parametrize("name", ["nobody", "..%2f..%2fetc", "%00"])
def test_unknown_studies_are_not_touched(client, home, name):
    for verb in ("stop", "resume"):
        assert press(client, f"/live/{name}/{verb}").status_code == 404
    assert not list(home.glob("studies/*"))


def test_buttons_need_the_token_and_a_study_that_fits(client, home):
    Study(config("done", 0.0), home=home).run()
    client.get("/live")

    assert client.post("/live/done/stop").status_code == 403
    assert press(client, "/live/done/stop").status_code == 409
    assert press(client, "/live/done/resume").status_code == 409
    own = StudyFolder(home / "studies/done")
    own.write(parts="python", state="stopped")
    refused = press(client, "/live/done/resume")
    assert refused.status_code == 404
    assert "from Python" in refused.json()["error"]


def test_a_damaged_record_does_not_take_the_page_down(client, home):
    Study(config("whole", 0.0), home=home).run()
    (home / "studies/torn").mkdir()
    (home / "studies/torn/study.json").write_text("{ half")

    assert state(client, "torn")["state"] == "damaged"
    assert state(client, "whole")["state"] == "finished"
    assert client.get("/live").status_code == 200


def test_links_hold_in_a_sub_path(home):
    Study(config("below", 0.0, budget={"images": 60}), home=home).run()
    made = parts(home, in_memory=True)
    app = below(create_app(made), "/studio")
    with TestClient(app, base_url="http://127.0.0.1") as client:
        page = client.get("/studio/live").text
    made.pictures.close()
    made.index.close()

    addresses = re.findall(r'(?:href|src|action)="(/[^"]*)"', page)
    assert 'action="/studio/live/below/resume"' in page
    assert len(addresses) > 10
    assert all(address.startswith("/studio/") for address in addresses), addresses
