"""Start-up: seconds to the first answer and memory of `teststrip track serve` and `mlflow server`.

    .venv/bin/python benchmarks/track/startup.py --out docs/tracking-numbers.md
    .venv/bin/python benchmarks/track/startup.py --quick

Each is started in a new folder (its database is made), ended, and started again there; they take
turns in `--rounds` rounds. An answer is status 200, asked for every 50 ms; the API call (list the
experiments) is one that the database has to answer. Memory is that of all processes of it after
twenty API calls: resident (RSS, shared pages counted for each) and proportional (PSS).
"""

import argparse
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parent))
from tables import written

from teststrip.testing.own_process import QUIET

PATIENCE_S, CALLS = 300.0, 20
API = "/api/2.0/mlflow/experiments/search?max_results=10"
PASSWORD = "a-password-for-this-benchmark"
NO_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
OWN = {"TESTSTRIP_TRACK_ADMIN_PASSWORD": PASSWORD, "TESTSTRIP_HOME": "home"}
BARE = ("-m", "mlflow", "server", "--host", "127.0.0.1", "--backend-store-uri", "sqlite:///m.db")


@dataclass(frozen=True)
class Kind:
    """A server to start: its words after `python`, its environment, who may ask it."""

    what: str
    words: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    login: tuple[str, str] | None = None


KINDS = (
    Kind(
        "`teststrip track serve` (log-in on)",
        ("-m", "teststrip", "track", "serve"),
        OWN,
        ("admin", PASSWORD),
    ),
    Kind("`mlflow server`", BARE),
    Kind("`mlflow server --workers 1`, no jobs", (*BARE, "--workers", "1"), NO_JOBS),
)


@dataclass
class Started:
    """One start: seconds until /health and until the API answered; MB and number of processes."""

    health_s: float
    api_s: float
    rss_mb: float
    pss_mb: float
    processes: int


def start(kind: Kind, folder: Path) -> Started:
    """Start it in `folder`, measure, end it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    bare = {k: v for k, v in os.environ.items() if not k.startswith(QUIET)}
    env = bare | {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"} | kind.env
    with (folder / "log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *kind.words, "--port", str(port)],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=address, auth=kind.login, trust_env=False) as client:
            seconds = [until_200(client, path, process, folder, began) for path in ("/health", API)]
            for _ in range(CALLS):
                client.get(API).raise_for_status()
        found = memory_mb(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        while members(process.pid):  # its job consumers take their time
            time.sleep(0.1)
    return Started(*seconds, *found)


def until_200(
    client: httpx.Client, path: str, process: subprocess.Popen[bytes], folder: Path, began: float
) -> float:
    """Seconds since `began` when `path` first answered 200."""
    while True:
        try:
            if client.get(path, timeout=30).status_code == 200:
                return time.perf_counter() - began
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.perf_counter() - began > PATIENCE_S:
            raise SystemExit(f"it did not start:\n{(folder / 'log').read_text()[-3000:]}")
        time.sleep(0.05)


def members(session: int) -> list[int]:
    """Processes of a session that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile, or is no process
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def memory_mb(session: int) -> tuple[float, float, int]:
    """(RSS, PSS, how many) of all processes of a session."""
    rss = pss = 0
    pids = members(session)
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            rss += int(rest.split()[0]) if name == "Rss" else 0
            pss += int(rest.split()[0]) if name == "Pss" else 0
    return rss / 1024, pss / 1024, len(pids)


def row(kind: Kind, first: list[Started], again: list[Started]) -> str:
    """A line of the table: what is in the middle of the rounds."""

    def middle(starts: list[Started], name: str) -> float:
        return statistics.median(getattr(one, name) for one in starts)

    return (
        f"| {kind.what} | {middle(first, 'health_s'):.1f} / {middle(first, 'api_s'):.1f} | "
        f"{middle(again, 'health_s'):.1f} / {middle(again, 'api_s'):.1f} | "
        f"{middle(again, 'rss_mb'):.0f} | {middle(again, 'pss_mb'):.0f} | "
        f"{middle(again, 'processes'):.0f} |"
    )


def main() -> None:
    """Measure, print the table, keep it if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="ours and the lean one, once")
    parser.add_argument("--out", type=Path, help="Markdown file whose part on start-up to write")
    args = parser.parse_args()
    kinds = (KINDS[0], KINDS[2]) if args.quick else KINDS
    rounds, busy = 1 if args.quick else args.rounds, os.getloadavg()[0]
    first: dict[str, list[Started]] = {kind.what: [] for kind in kinds}
    again: dict[str, list[Started]] = {kind.what: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            with tempfile.TemporaryDirectory() as place:
                first[kind.what].append(start(kind, Path(place)))
                again[kind.what].append(start(kind, Path(place)))
    lines = [
        "## Start-up and memory",
        "",
        f"`benchmarks/track/startup.py`, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores; "
        f"SQLite and a folder; medians of {rounds}; load of the machine before: {busy:.1f}.",
        "",
        "| server | new folder: s to /health / an API call | started again | RSS MB | PSS MB | "
        "processes |",
        "|---|---|---|---|---|---|",
        *(row(kind, first[kind.what], again[kind.what]) for kind in kinds),
    ]
    written(args.out, "Start-up", lines)


if __name__ == "__main__":
    main()
