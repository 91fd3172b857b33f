"""The VM as a whole: installed, used by a client without keys, attacked, backed up, restored."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.deploy
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(1800)
def test_a_study_goes_through_the_vm_and_nobody_comes_in_who_may_not(tmp_path, tool_path):
    for program in ("caddy", "initdb", "rsync"):
        tool_path(program)
    out = tmp_path / "shown.md"

    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/track/shown.py", "--out", out],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    page = out.read_text()
    assert " 0 not as expected" in page
    for row in (
        "| posters@champion in the registry | version 1 | version 1 |",
        "| a wrong password | 401 | 401 |",
        "| MLflow's client, the server's certificate ended yesterday | refused: expired |",
        "| ben: read a file of ann's | refused | refused |",
        "| a run that was deleted after the backup | active | active |",
    ):
        assert row in page
