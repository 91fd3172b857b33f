"""The calibration benchmark runs, and its coarse counts are sane."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "evidence" / "calibration.py"


@pytest.fixture(scope="module")
def calibration():
    spec = importlib.util.spec_from_file_location("calibration", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["calibration"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["calibration"]


def test_few_worlds_keep_the_promises_roughly(calibration, capsys):
    found = {}
    for design in (calibration.DESIGNS[1], calibration.DESIGNS[5]):
        for shape in calibration.SHAPES:
            found[design.name, shape] = calibration.simulate(design, shape, 0, 4)

    def pooled(name):
        values = [v for counts in found.values() for v in counts.get(name, [])]
        return sum(values) / len(values)

    assert pooled("false better, search") <= 0.25
    assert pooled("gain interval") >= 0.7
    assert pooled("winner's interval") >= 0.7
    assert pooled("true best kept") >= 0.85
    calibration.report(found, 4)
    assert "| **all** |" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_worlds(calibration):
    design = calibration.DESIGNS[0]

    assert calibration.simulate(design, "unequal", 3, 2) == calibration.simulate(
        design, "unequal", 3, 2
    )
