"""The benchmark of votes runs, and null studies claim nothing beyond five per cent."""

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "evidence" / "votes.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("votes_benchmark", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_a_line_of_the_table_counts_hits(benchmark):
    line = benchmark.row(benchmark.Design(4, 10, 8), 5, preference=True, seed=1)

    assert line.count("|") == 10
    assert float(line.split("|")[5].split("±")[0]) >= 60


def test_a_null_study_goes_through_the_whole_analysis(benchmark):
    assert benchmark.claims(2, raced=True, heavy=True, baseline="r0") in (0, 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_null_studies_claim_a_finding_in_at_most_five_percent(benchmark):
    found = benchmark.claims(60, raced=True, heavy=False, baseline="r0")

    assert found / 60 <= 0.05 + 2.5 * (0.05 * 0.95 / 60) ** 0.5
