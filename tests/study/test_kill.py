"""kill -9 at any moment, resume: no image is made again once it is on disk, and none is lost."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from teststrip import Study

COUNTING = '''
from pathlib import Path
from teststrip.testing.synthetic import SyntheticGenerator

class CountingGenerator(SyntheticGenerator):
    """Writes down every picture before it hands it over."""

    def __init__(self, log, **options):
        super().__init__(**options)
        self._log = log

    def generate(self, requests, on_progress=None):
        for outcome in super().generate(requests, on_progress):
            with open(self._log, "a") as file:
                file.write(outcome.image_key + "\\n")
            yield outcome
'''
TIMES = ["started", "finished", "seconds"]


def write_study(folder: Path, design: dict, race: dict, delay_s: float = 0.004) -> Path:
    (folder / "counting.py").write_text(COUNTING)
    options = {"log": str(folder / "calls.log"), "delay_s": delay_s}
    study = {
        "name": "killed",
        "generator": {"name": "counting:CountingGenerator", "options": options},
        "scorers": ["synthetic"],
        "objectives": ["synthetic"],
        "prompts": {"items": [f"prompt {i}" for i in range(8)], "held_out": 0.25},
        "seeds": 2,
        "space": {
            "scheduler": ["ddim", "euler", "dpmpp_2m"],
            "steps": {"int": [10, 40], "step": 10},
            "guidance": {"float": [2, 8], "step": 3},
        },
        "design": design,
        "race": race,
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def start(path: Path, home: Path) -> subprocess.Popen:
    code = f"from teststrip import Study; Study.from_yaml({str(path)!r}, home={str(home)!r}).run()"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def comparable(table: Path) -> pd.DataFrame:
    return pd.read_parquet(table).drop(columns=TIMES)


CASES = {
    "grid-halving": ({"kind": "grid"}, {"start": 2, "top": 12}),
    "tpe-wilcoxon": (
        {"kind": "tpe", "trials": 24},
        {"kind": "wilcoxon", "start": 2, "top": 12, "ask": 4},
    ),
    "tpe-halving": ({"kind": "tpe", "trials": 24}, {"start": 2, "top": 12, "ask": 4}),
    "grid-posterior": ({"kind": "grid"}, {"kind": "posterior", "start": 2, "top": 12}),
    "tpe-posterior": (
        {"kind": "tpe", "trials": 24},
        {"kind": "posterior", "start": 2, "top": 12, "ask": 8, "keep": 1},
    ),
    "random-frace": (
        {"kind": "random", "trials": 20},
        {"kind": "frace", "start": 5, "top": 12, "p": 0.2, "ask": 4},
    ),
    "gp-none": ({"kind": "gp", "trials": 16}, {"kind": "none", "top": 4, "ask": 4}),
    "nsga2-halving": ({"kind": "nsga2", "trials": 20}, {"start": 2, "top": 12, "ask": 4}),
}
QUICK = ("grid-halving", "tpe-wilcoxon")


@pytest.mark.parametrize(
    "case",
    [pytest.param(c, marks=() if c in QUICK else pytest.mark.slow) for c in CASES],
)
def test_a_killed_study_ends_as_one_that_ran_straight_through(case, tmp_path):
    design, race = CASES[case]
    path = write_study(tmp_path, design, race)
    log = tmp_path / "calls.log"
    straight = Study.from_yaml(path, home=tmp_path / "straight").run()
    in_one_go = len(lines(log))
    log.unlink()

    home, rng, kept = tmp_path / "home", random.Random(case), []
    for _ in range(3 if case in QUICK else 6):
        process = start(path, home)
        wanted = len(lines(log)) + rng.randint(0, in_one_go // 4)
        while process.poll() is None and len(lines(log)) <= wanted:
            time.sleep(0.001)
        time.sleep(rng.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        on_disk = {p.stem for p in (home / "studies/killed/images").glob("*/*.png")}
        kept.append((len(lines(log)), on_disk))
    Study.open("killed", home).resume()

    resumed = comparable(home / "studies/killed/images.parquet")
    pd.testing.assert_frame_equal(resumed, comparable(straight.table))
    calls = lines(log)
    assert set(calls) == set(resumed.image_key), "none is lost, none is too many"
    for before, on_disk in kept:
        assert not set(calls[before:]) & on_disk, "a picture on disk is never made again"
    in_flight = len(calls) - len(set(calls))
    assert in_flight <= len(kept), "at most the one picture in flight is lost by a kill"
    assert len(kept[-1][1]) > 0, "the kills fell into the work"
    leftovers = list((home / "studies/killed").rglob(".*.png.*"))
    assert len(leftovers) <= len(kept)
