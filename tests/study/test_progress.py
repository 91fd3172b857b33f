"""progress.json and the stop file: what others may see of a running study, and ask of it."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest
import yaml

from teststrip import Study
from teststrip.errors import StudyError
from teststrip.study.folder import StudyFolder

TIMES = ["started", "finished", "seconds"]


def write_study(folder: Path, name: str, delay_s: float) -> Path:
    study = {
        "name": name,
        "generator": {"name": "synthetic", "options": {"delay_s": delay_s}},
        "scorers": ["synthetic"],
        "objectives": ["synthetic"],
        "prompts": {"items": [f"prompt {i}" for i in range(8)], "held_out": 0.25},
        "seeds": 2,
        "space": {"steps": {"int": [10, 40], "step": 10}, "guidance": [2.0, 5.0, 8.0]},
        "design": {"kind": "grid"},
        "race": {"start": 2, "top": 12},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def start(path: Path, home: Path) -> subprocess.Popen:
    code = f"from teststrip import Study; Study.from_yaml({str(path)!r}, home={str(home)!r}).run()"
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


def until(condition, process: subprocess.Popen, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_study_that_is_asked_to_stop_keeps_its_images_and_ends_as_a_straight_run(tmp_path):
    path = write_study(tmp_path, "asked", 0.02)
    folder = StudyFolder(tmp_path / "home/studies/asked")
    straight = Study.from_yaml(path, home=tmp_path / "straight", set=["generator.options={}"])
    straight.run()

    process = start(path, tmp_path / "home")
    until(lambda: len(list(folder.images.glob("*/*.png"))) >= 5, process)
    assert folder.holder() == process.pid
    folder.ask_to_stop("the studio")
    _, err = process.communicate(timeout=30)

    made = {p.name for p in folder.images.glob("*/*.png")}
    told = json.loads(folder.progress.read_text())
    assert "stopped by the studio" in err
    assert folder.holder() is None
    assert (folder.read()["state"], folder.read()["why"]) == ("stopped", "the studio")
    assert 5 <= len(made) < told["images_expected"]
    assert told["images"] == len(made)

    result = Study.open("asked", home=tmp_path / "home").resume()
    assert not folder.stop.exists()
    assert result.images_now == result.images - len(made)
    assert made < {p.name for p in folder.images.glob("*/*.png")}
    pd.testing.assert_frame_equal(
        pd.read_parquet(result.table).drop(columns=TIMES),
        pd.read_parquet(straight.result.table).drop(columns=TIMES),
    )


def test_progress_is_exact_and_ends_with_the_study(tmp_path):
    path = write_study(tmp_path, "told", 0.0)

    result = Study.from_yaml(path, home=tmp_path).run()

    told = json.loads((result.folder / "progress.json").read_text())
    assert told["is_exact"]
    assert told["images"] == told["images_expected"] == result.images == told["images_now"]
    assert told["images_left"] == 0
    assert told["images_saved"] == result.images_saved
    assert told["failed"] == 0
    assert told["best"] == result.best.recipe_id
    gain = sum(told["best_gains"].values()) / len(told["best_gains"])
    assert gain == pytest.approx(result.best_value - result.baseline_value)
    assert told["best_blocks"] == 12


def test_failures_are_told_with_their_reasons(tmp_path):
    class Moody:
        columns: ClassVar = {"synthetic@1": True}

        def score(self, generations):
            return [
                {"synthetic@1": float("nan") if g.request.block.seed % 2 else 1.0 * i}
                for i, g in enumerate(generations)
            ]

    study = Study(
        yaml.safe_load(write_study(tmp_path, "moody", 0.0).read_text()) | {"seeds": 4},
        home=tmp_path,
        scorers=[Moody()],
    )
    result = study.run()

    told = json.loads((result.folder / "progress.json").read_text())
    assert result.rows_failed
    assert told["failed"] == result.rows_failed
    assert sum(told["failures"].values()) == told["failed"]


def test_nobody_runs_it_nobody_can_be_asked(tmp_path):
    path = write_study(tmp_path, "over", 0.0)
    result = Study.from_yaml(path, home=tmp_path).run()

    with pytest.raises(StudyError, match="is not running"):
        StudyFolder(result.folder).ask_to_stop("me")
    assert not (result.folder / "stop").exists()


def test_who_looks_at_the_lock_disturbs_nobody(tmp_path):
    folder = StudyFolder(tmp_path / "looked")
    other = StudyFolder(tmp_path / "looked")

    assert folder.holder() is None
    with folder.locked():
        assert other.holder() == other.holder() != 0
        with pytest.raises(StudyError, match="by another process"), other.locked():
            pass
    assert folder.holder() is None
