"""The benchmark of importance runs, and its coarse counts are sane."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "evidence" / "importance.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("importance_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["importance_benchmark"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["importance_benchmark"]


def test_few_worlds_show_what_is_there_and_hardly_anything_else(benchmark, capsys):
    found = {}
    for design in (benchmark.DESIGNS[0], benchmark.DESIGNS[3], benchmark.DESIGNS[4]):
        for shape in benchmark.SHAPES:
            for kind in benchmark.KINDS:
                made = benchmark.simulate(design, shape, kind, 0, 4)
                found[design.name, shape, kind] = made

    def pooled(kind, name):
        values = [v for (_, _, k), c in found.items() if k == kind for v in c[name]]
        return sum(values) / len(values)

    assert pooled("real", "guidance") >= 0.8
    assert pooled("real", "null shown") <= 0.25
    assert pooled("null", "null first") <= 0.25
    assert pooled("real", "covers real") >= 0.8
    benchmark.report(found, {}, 4)
    assert "| **all** |" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_worlds(benchmark):
    design = benchmark.DESIGNS[2]

    once, twice = (benchmark.simulate(design, "heavy", "pair", 3, 2) for _ in range(2))

    assert once == twice


def test_ped_anova_is_asked_in_the_same_worlds(benchmark):
    found = benchmark.histories(0, 1)

    assert len(found) == 9
    assert all(0 <= v <= 1 for values in found.values() for v in values)
