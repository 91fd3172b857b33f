"""/live: a real training in a real process is watched, stopped, resumed, and seen when killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image
from starlette.testclient import TestClient

from teststrip.studio.app import create_app
from teststrip.studio.live.trainings import training_of
from teststrip.study.folder import StudyFolder
from teststrip.testing.tiny import tiny_pipeline
from teststrip.wire.studio import parts

STEPS = 4000  # more than anybody waits for


def until(condition, seconds: float = 120.0):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.02)
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("base")
    for number in range(6):
        (place / "pictures").mkdir(exist_ok=True)
        Image.new("RGB", (32, 32), (40 * number, 90, 200)).save(place / f"pictures/{number}.png")
    tiny_pipeline(place / "tiny")
    return place


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


@pytest.fixture
def client(home):
    made = parts(home, in_memory=True)
    with TestClient(create_app(made), base_url="http://127.0.0.1") as client:
        yield client
    made.pictures.close()
    made.index.close()


def begin(home: Path, base: Path) -> subprocess.Popen:
    """`teststrip train run` on a tiny model."""
    settings = {
        "name": "hats",
        "base": str(base / "tiny"),
        "data": {"source": str(base / "pictures"), "caption": "a hat", "held_out": 0.3},
        "lora": {"rank": 2},
        "steps": STEPS,
        "batch": 1,
        "every": {"log": 5, "held_out": 50, "checkpoint": 50, "keep": 1},
        "validation": {
            "prompts": ["a <b>red</b> hat"],
            "seeds": [0],
            "recipe": {"steps": 1},
            "draws": 1,
            "scorers": [],
        },
    }
    file = home / "hats.yaml"
    file.write_text(yaml.safe_dump(settings))
    return subprocess.Popen(
        [sys.executable, "-m", "teststrip", "train", "run", str(file), "--quiet", "--no-track"],
        env=os.environ | {"TESTSTRIP_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def state(client) -> dict:
    found = client.get("/live/studies.json").json()["trainings"]
    return found[0] if found else {"state": "unknown", "step": 0}


def press(client, path: str):
    client.get("/live")
    token = client.cookies["teststrip_csrf"]
    return client.post(path, headers={"X-CSRF-Token": token})


@pytest.mark.slow
def test_a_real_training_is_watched_stopped_resumed_and_seen_when_it_is_killed(client, home, base):
    process = begin(home, base)
    launcher = None
    try:
        now = until(lambda: (s := state(client))["step"] >= 10 and s)
        assert (now["state"], now["steps"]) == ("running", STEPS)
        assert now["eta_s"] > 0
        assert now["images_per_s"] > 0
        assert {name for name, _ in now["losses"]} == {"loss", "loss_ema", "val_loss"}
        page = client.get("/live").text
        assert "1 in training" in page
        assert "a &lt;b&gt;red&lt;/b&gt; hat, seed 0" in page
        shot = now["shots"][0]
        image = client.get(f"/runs/hats/samples/{shot['step']}/{shot['stem']}.webp")
        assert image.headers["content-type"] == "image/webp"
        assert press(client, "/live/trainings/hats/resume").status_code == 409

        assert press(client, "/live/trainings/hats/stop").status_code == 202
        assert process.wait(timeout=120) == 1  # not done yet
        stopped = state(client)
        assert (stopped["state"], stopped["can_resume"]) == ("stopped", True)
        assert 10 <= stopped["step"] < STEPS
        assert "the studio" in stopped["why"]

        assert press(client, "/live/trainings/hats/resume").status_code == 202
        assert state(client)["state"] in ("starting", "running")
        launcher = client.app.state.train_launcher
        further = until(
            lambda: (s := state(client))["state"] == "running" and s["step"] > stopped["step"] and s
        )
        assert further["log"] == ""

        os.kill(StudyFolder(home / "runs/hats").holder(), signal.SIGKILL)
        until(lambda: launcher.exit_code("hats") is not None)
        killed = state(client)
        assert (killed["state"], killed["can_resume"]) == ("interrupted", True)
        assert "was killed" in client.get("/live").text
        assert "was killed" in client.get("/runs/hats").text
        assert client.get("/live/studies").headers["retry-after"] == "10"
    finally:
        process.kill()
        process.wait()
        child = launcher._children.get("hats") if launcher else None
        if child is not None and child.poll() is None:
            child.kill()
            child.wait()


def write(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True)
    head = {"format": 1, "state": "finished", "steps": 100} | changes
    (folder / "run.json").write_text(json.dumps(head))
    return folder


def test_a_run_that_ended_says_how_and_only_what_can_go_on_has_a_button(client, home):
    write(home / "runs/done")
    broken = write(home / "runs/broken", state="failed", why="the loss is not finite at step 7")
    (broken / "train.yaml").write_text("name: broken")

    page = client.get("/live").text

    assert "the loss is not finite at step 7" in page
    assert "/live/trainings/broken/resume" in page
    assert "/live/trainings/done/resume" not in page
    assert press(client, "/live/trainings/done/resume").status_code == 409
    assert press(client, "/live/trainings/done/stop").status_code == 409


def test_a_run_of_another_trainer_runs_while_it_says_so_and_has_no_buttons(client, home):
    folder = write(home / "runs/foreign", state="running")
    (folder / "metrics.jsonl").write_text('{"step": 40, "loss": 0.25}\n')

    now = state(client)

    assert (now["state"], now["step"], now["losses"]) == ("running", 40, [["loss", 0.25]])
    assert "/live/trainings/foreign/" not in client.get("/live").text


def test_only_training_runs_that_are_here_can_be_asked(client, home):
    write(home / "studio/runs/copied", state="stopped")
    for name in ("copied", "none", "..", "a%2Fb"):
        assert press(client, f"/live/trainings/{name}/stop").status_code in (404, 405)
    assert "copied" not in client.get("/live").text


def test_damaged_files_do_not_break_the_page(client, home):
    folder = write(home / "runs/odd", state="stopped")
    (folder / "progress.json").write_text('{"step": "x", "loss": null, "updated": "never"')
    (folder / "samples/0").mkdir(parents=True)
    (folder / "samples/0/noseed.png").write_bytes(b"")
    write(home / "runs/worse", state="none of these")

    assert client.get("/live").status_code == 200
    assert training_of(home, "odd", client.app.state.train_launcher).shots == ()


def test_a_run_whose_lock_nobody_holds_was_killed_and_can_go_on(client, home):
    folder = write(home / "runs/lost", state="running")
    (folder / "lock").write_text("pid 1\n")
    (folder / "train.yaml").write_text("name: lost")
    (folder / "run.log").write_text("$ teststrip train resume lost\nout of memory")

    now = state(client)

    assert (now["state"], now["can_resume"], now["can_stop"]) == ("interrupted", True, False)
    assert now["log"] == "out of memory"
    assert "was killed" in client.get("/runs").text
