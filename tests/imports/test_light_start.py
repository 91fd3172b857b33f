"""`import teststrip` and `teststrip --help` load no heavy stack."""

import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "mlflow", "optuna", "pandas", "scipy")
STARTS = {
    "import teststrip": "import teststrip",
    "teststrip --help": "from teststrip.cli.main import main; main(['--help'])",
    "teststrip study --help": "from teststrip.cli.main import main; main(['study', '--help'])",
}
# Compiled files may be kept, as they are wherever this is installed.
KEEPING = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
TOLD = "\nimport sys; print('LOADED', *sys.modules)"


@pytest.mark.parametrize("start", STARTS)
def test_a_start_loads_nothing_heavy(start):
    said = subprocess.run(
        [sys.executable, "-c", STARTS[start] + TOLD], capture_output=True, text=True, check=True
    ).stdout

    loaded = set(said.partition("LOADED")[2].split())
    assert "teststrip" in loaded
    assert loaded.isdisjoint(HEAVY)


@pytest.mark.parametrize("start", STARTS)
def test_a_start_takes_less_than_0_4_s_of_processor_time(start):
    def seconds() -> float:
        before = os.times()
        subprocess.run(
            [sys.executable, "-c", STARTS[start]], env=KEEPING, capture_output=True, check=True
        )
        after = os.times()
        return sum(after[2:4]) - sum(before[2:4])

    assert min(seconds() for _ in range(3)) < 0.4
