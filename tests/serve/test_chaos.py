"""Workers, webs, broker, Redis and S3 fail while jobs come: each job ends as it should, once."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.service
@pytest.mark.timeout(1200)
def test_every_accepted_job_ends_right_though_everything_is_broken_once(broker_url, tmp_path):
    out = tmp_path / "chaos.md"

    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks/service/chaos.py", "--quick", "--out", out],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    table = out.read_text()
    assert "| accepted (202 or 200) | 40 of 40 |" in table
    assert "| other faults | 0 |" in table
