"""The main job on real parts: a study file -> images -> scores -> race -> MLflow -> report."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from teststrip.testing.tiny import tiny_pipeline
from teststrip.track.packs import unpack

STUDY = """
name: tiny
prompts:
  items: [a red apple, an owl at night, a blue car, a house, two dogs]
  held_out: 0.2
seeds: 2
recipe: {{model: {model}}}
space:
  scheduler: [ddim, euler_a, dpmpp_2m_karras]
  guidance: [1, 4]
  steps: [2, 5]
baseline: {{scheduler: ddim, steps: 3, guidance: 2}}
scorers: [clip, technical]
objectives: [{{score: clip, primary: true}}, {{score: seconds, direction: min}}]
design: {{kind: grid}}
race: {{start: 2, top: 8}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def command(home: Path, *args: str | Path) -> Any:
    """Run the command in a process of its own; its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "teststrip", *map(str, args), "--json"],
        env={"TESTSTRIP_HOME": str(home / "data"), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def result(home: Path) -> Any:
    model = tiny_pipeline(home / "model")
    (home / "study.yaml").write_text(STUDY.format(model=model))
    return command(home, "study", "run", "study.yaml", "--out", "report")


def test_the_race_saves_images_and_the_report_tells_of_all_it_made(home: Path, result: Any) -> None:
    summary = json.loads((home / "report" / "study.json").read_text())

    assert summary["images_made"] == result["images"] < summary["images_full_grid"]
    assert summary["recipes"] == 13
    assert summary["baseline"]["n_images"] == 8
    assert summary["best"]["interval"][0] <= summary["best"]["mean"]
    page = (home / "report" / "report.html").read_text()
    assert summary["answer"] in page
    assert (home / "report" / "contact-sheet.png").read_bytes().startswith(b"\x89PNG")


def test_every_row_of_the_table_has_its_picture_and_its_scores(home: Path, result: Any) -> None:
    table = pd.read_parquet(result["table"])

    assert len(table) == result["images"]
    assert set(table["status"]) == {"ok"}
    assert table["clip_small@1"].notna().all()
    folder = Path(result["folder"])
    for png, key in zip(table["png"], table["image_key"], strict=True):
        assert key in png
        assert (folder / png).is_file()
    assert (folder / "images").is_dir()


def test_any_picture_can_be_made_again_bit_for_bit(home: Path, result: Any) -> None:
    table = pd.read_parquet(result["table"])
    folder = Path(result["folder"])

    for png in table.sample(2, random_state=0)["png"]:
        again = command(home, "image", "generate", "--from-png", folder / png, "--out", "again")

        assert again["identical"] is True
        (made,) = (home / "again").glob("*.png")
        assert made.read_bytes() == (folder / png).read_bytes()
        made.unlink()


def test_the_record_is_in_mlflow_with_the_pictures(home: Path, result: Any) -> None:
    with sqlite3.connect(home / "data" / "mlflow.db") as db:
        runs = db.execute("select count(*) from runs").fetchone()[0]

        keys = {key for (key,) in db.execute("select distinct key from metrics")}

    assert runs == 13 + 1
    assert any("gain.low" in key for key in keys)
    table = pd.read_parquet(result["table"])
    artifacts = home / "data" / "artifacts"
    kept = {path.name: path.read_bytes() for path in artifacts.rglob("images/*.png")}
    for page in artifacts.rglob("images/*.html"):
        kept |= unpack(page.read_bytes())
    assert len(kept) == len(table)
    made = {path.name: path.read_bytes() for path in (home / "data/studies").rglob("*.png")}
    assert all(made[name.partition("-")[2]] == data for name, data in kept.items())
    assert list((home / "data" / "artifacts").rglob("report.html"))


def test_running_it_again_makes_nothing_and_records_nothing_twice(home: Path, result: Any) -> None:
    again = command(home, "study", "run", "study.yaml", "--out", "report")

    assert again["images_now"] == 0
    assert again["images"] == result["images"]
    with sqlite3.connect(home / "data" / "mlflow.db") as db:
        assert db.execute("select count(*) from runs").fetchone()[0] == 14
