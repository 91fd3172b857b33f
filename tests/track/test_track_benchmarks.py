"""Benchmarks of the tracking server: their arithmetic, their page; `slow`: each runs for real."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks" / "track"


def loaded(name):
    """A file of the benchmarks as a module, without putting its folder on the path for others."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(FOLDER))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(FOLDER))
        for own in ("clients", "served", "tables"):
            sys.modules.pop(own, None)
    return module


def test_each_benchmark_writes_its_own_part_of_the_page(tmp_path, capsys):
    tables, page = loaded("tables"), tmp_path / "numbers.md"
    page.write_text("# Title\n\nSaid by hand.\n")

    tables.written(page, "Recording", ["## Recording", "", "| a |"])
    tables.written(page, "Reading", ["## Reading"])
    tables.written(page, "Recording", ["## Recording", "", r"| \1 |"])

    assert page.read_text() == (
        "# Title\n\nSaid by hand.\n\n<!-- Recording -->\n## Recording\n\n| \\1 |\n"
        "<!-- end of Recording -->\n\n<!-- Reading -->\n## Reading\n<!-- end of Reading -->\n"
    )
    assert capsys.readouterr().out.count("## Recording") == 2


def test_a_ratio_compares_seconds_a_recipe_within_one_round():
    recording = loaded("recording")
    slow = recording.Turns([[1.0, 3.0], [4.0]], [[0.0, 0.0], [0.0]], 3.0, 6.0, 192)
    fast = recording.Turns([[0.1, 0.1], [0.5]], [[0.1, 0.1], [0.3]], 0.3, 0.6, 12)

    row = recording.row("teststrip", fast, slow)

    # rounds: 2 s against 0.1 s and 4 s against 0.5 s; with encoding 0.2 s and 0.8 s
    assert "| 14.0 (20.0, 8.0) | 7.5 |" in row
    assert "| 69 | 100 | 4.0 | 100 / 200 |" in row  # 48 pictures in 0.7 s


def test_requests_are_counted_between_two_looks():
    served = loaded("served")
    before = served.Spent({("POST", "runs"): 3, ("GET", "ui"): 1}, 1.0)
    after = served.Spent({("POST", "runs"): 5, ("GET", "ui"): 1, ("PUT", "artifacts"): 2}, 1.5)

    found = after - before

    assert found.requests == {("POST", "runs"): 2, ("PUT", "artifacts"): 2}
    assert found.count == 4
    assert found.cpu_s == 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["recording", "reading", "startup"])
def test_a_benchmark_runs_and_writes_its_table(name, tmp_path):
    page = tmp_path / "numbers.md"

    ran = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--out", str(page)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr[-3000:]
    rows = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    assert len(rows) >= 3
