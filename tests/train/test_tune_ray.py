"""Trials on a real local Ray cluster. In programs of their own: Ray keeps state and warns."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder

PROGRAM = Path(__file__).with_name("ray_search.py")
pytestmark = pytest.mark.timeout(1800)  # of a machine that does much else


def finished(command: list[str], home: Path) -> dict[str, Any]:
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(home), check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"TESTSTRIP_HOME": str(home), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_a_grid_with_a_failing_point_and_a_worker_that_dies(tmp_path: Path):
    command = [sys.executable, str(PROGRAM), str(tmp_path), "grid"]
    report = finished(command, tmp_path)

    states = {
        (one["point"]["optimizer.lr"], one["point"]["lora.rank"]): one["state"]
        for one in report["trials"]
    }
    assert states == {
        (1e-2, 2): "finished",
        (1e-2, 4): "finished",
        (10.0, 2): "failed",
        (10.0, 4): "failed",
    }
    assert report["best"]["point"] == {"optimizer.lr": 1e-2, "lora.rank": 2}
    assert report["repeats"][0]["value"]["units"] == 2
    taken = [line.split() for line in (tmp_path / "taken.txt").read_text().splitlines()]
    names = [name for name, _ in taken]
    died = [name for name in set(names) if names.count(name) == 2]
    assert died == ["grid-t001"]  # killed once, taken up again
    assert len(names) == 4 + 2 + 1

    again = finished(command, tmp_path)

    assert again == report
    assert (tmp_path / "taken.txt").read_text().count("\n") == len(names)


@pytest.mark.slow
def test_a_sampler_s_points_under_asha_end_in_good_order(tmp_path: Path):
    report = finished([sys.executable, str(PROGRAM), str(tmp_path), "asha"], tmp_path)

    rows = report["trials"]
    states = [one["state"] for one in rows]
    assert len({json.dumps(one["point"]) for one in rows}) == 8
    assert states.count("pruned") >= 1
    assert states.count("pruned") + states.count("finished") == 8
    assert all(one["measured"] == 1 for one in rows if one["state"] == "pruned")
    # ASHA compares at the first measuring: the best of all is never given up
    rates = {one["name"]: one["point"]["optimizer.lr"] for one in rows}
    assert report["best"]["name"] == min(rates, key=rates.__getitem__)


@pytest.mark.slow
def test_six_real_trainings_survive_a_killed_worker_and_a_killed_driver(
    tmp_path: Path, config: Callable[..., TrainConfig]
):
    home = tmp_path / "home"
    file = write(tmp_path / "tune.yaml", config)
    command = [sys.executable, "-m", "teststrip", "train", "tune", str(file), "--no-track"]
    folders = [RunFolder.of(home, f"grid-t{number:03d}") for number in range(6)]

    log = tmp_path / "driver.log"
    with log.open("wb") as out:
        driver = subprocess.Popen(command, stdout=out, stderr=out, env=environment(home))
    worker = until(lambda: has_checkpoint(folders[0]) and folders[0].holder(), driver, log)
    os.kill(worker, signal.SIGKILL)
    until(lambda: ended(home), driver, log)
    until(lambda: any(has_checkpoint(f) and f.holder() for f in folders), driver, log)
    driver.kill()
    driver.wait()
    kept = ended(home)
    cut = {
        path: path.stat().st_mtime_ns
        for path in (home / "runs").glob("*/checkpoints/[0-9]*/*.safetensors")
    }

    report = finished([*command, "--json"], home)

    states = {one["name"]: (one["point"]["optimizer.lr"], one["state"]) for one in report["trials"]}
    assert len(states) == 6
    assert all(
        state == ("failed" if lr == 1e30 else "finished") for lr, state in states.values()
    ), states
    assert report["best"]["point"]["optimizer.lr"] != 1e30
    # what had ended was not run again; what was cut went on from its checkpoints
    assert {name: ended(home)[name] for name in kept} == kept
    assert {path: path.stat().st_mtime_ns for path in cut} == cut


def write(file: Path, config: Callable[..., TrainConfig]) -> Path:
    train = config(lora={"rank": 2}).model_dump(mode="json", exclude_defaults=True)
    data = {
        "name": "grid",
        "train": train,
        "space": {"optimizer.lr": [1e-3, 1e-2, 1e30], "lora.rank": [2, 4]},
        "design": "grid",
        "samples": 240,
        "measure": 4,
        "checkpoints": 12,
        "early_stop": "none",
        "repeat": {"top": 0},
        "backend": "ray",
        "ray": {"cpus": 2},
    }
    file.write_text(yaml.safe_dump(data))
    return file


def has_checkpoint(folder: RunFolder) -> bool:
    return any(folder.checkpoints.glob("[0-9]*"))


def ended(home: Path) -> dict[str, int]:
    files = (home / "tunes" / "grid" / "trials").glob("[!.]*.json")
    return {path.name: path.stat().st_mtime_ns for path in files}


def until(condition: Callable[[], Any], driver: subprocess.Popen[bytes], log: Path) -> Any:
    while not (found := condition()):
        assert driver.poll() is None, f"the driver ended first: {log.read_text()[-3000:]}"
        time.sleep(0.02)
    return found
