"""`teststrip train tune` as a command: what it prints, and its exit code."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from teststrip.cli.main import main
from teststrip.train.config import TrainConfig


@pytest.fixture
def file(tmp_path: Path, config: Callable[..., TrainConfig], monkeypatch) -> Path:
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TESTSTRIP_DEVICE", "cpu")
    data = {
        "name": "lr",
        "train": config().model_dump(mode="json", exclude_defaults=True),
        "space": {"optimizer.lr": [1e-3, 1e-4]},
        "design": "grid",
        "samples": 4,
        "measure": 1,
        "early_stop": "none",
        "repeat": {"top": 0},
    }
    path = tmp_path / "tune.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def test_a_search_prints_its_table_and_a_training_to_run(file: Path, capsys, tmp_path: Path):
    assert main(["train", "tune", str(file), "--no-track"]) == 0
    out = capsys.readouterr()
    assert "2 finished; 4 samples each, grid on optuna" in out.out
    assert "2/2 lr-t001 finished" in out.err

    assert main(["train", "tune", str(file), "--no-track", "--json", "--quiet"]) == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["best"]["state"] == "finished"
    assert out.err == ""
    best = tmp_path / "home" / "tunes" / "lr" / "best.yaml"
    assert main(["train", "run", str(best), "--no-track", "--quiet", "--set", "steps=1"]) == 0


def test_faults_of_the_file_are_wrong_use(file: Path, capsys):
    assert main(["train", "tune", str(file), "--set", "space.steps=[1, 2]"]) == 2
    assert "space.steps: cannot be searched" in capsys.readouterr().err
    assert main(["train", "tune", str(file), "--set", "objective=beauty"]) == 2


def test_another_search_of_that_name_is_wrong_use(file: Path, capsys):
    assert main(["train", "tune", str(file), "--no-track", "--quiet"]) == 0
    command = ["train", "tune", str(file), "--no-track", "--set", "samples=8"]
    assert main(command) == 2
    assert "samples: was 4, now 8" in capsys.readouterr().err
