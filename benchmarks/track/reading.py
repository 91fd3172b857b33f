"""Reading: a whole study back from a real tracking server, for a viewer on another machine.

    .venv/bin/python benchmarks/track/reading.py --out docs/tracking-numbers.md
    .venv/bin/python benchmarks/track/reading.py --quick

A study is recorded first (that is not measured here). Beside it, in the same run, the obvious way:
`mlflow.search_runs`, then `mlflow.artifacts.download_artifacts` of each run's folder of PNGs, on a
sample of runs with one file for each picture. Requests are counted by the server.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO, StringIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import clients
from clients import SEEDS
from served import POSTGRES, SQLITE, served, spent
from tables import written

from teststrip.testing.track_process import TrackProcess

STUDY, SCREEN = "far", 12 * SEEDS  # a screen of the wall: 12 recipes with all their pictures


@dataclass(frozen=True)
class Read:
    """One thing that was read: in the middle of all rounds."""

    what: str
    seconds: float
    requests: float
    pictures: int = 0

    def row(self) -> str:
        """A line of the table."""
        pace = f"{self.pictures / self.seconds:.0f}" if self.pictures else ""
        return f"| {self.what} | {self.seconds:.2f} | {self.requests:.0f} | {pace} |"


def record(home: Path, recipes: int, sample: int) -> list[str]:
    """A study of `recipes` in the experiment that the viewer reads, and some runs as an obvious
    client leaves them. Returns the image keys in the order of the table."""
    import pandas as pd

    from teststrip.track.mlflow import MlflowTracker

    pixels, keys = clients.pictures(64), []
    tracker = MlflowTracker(home)
    tracker.start_study(STUDY, {"name": STUDY})
    for number in range(recipes):
        made = clients.recipe(number)
        images = clients.encoded(made, pixels)
        keys += [Path(name).stem.rpartition("-")[2] for name in images]
        tracker.log_recipe(STUDY, made, {}, clients.numbers(number), images, "done")
    table = BytesIO()
    pd.DataFrame({"image_key": keys, "score": 0.5}).to_parquet(table)
    files = {"images.parquet": table.getvalue(), "study.json": b"{}", "report.html": b"<p>"}
    tracker.finish_study(STUDY, {}, files, "finished")
    beside = clients.careful(argparse.Namespace(study="beside"))
    for number in range(sample):
        beside(number, clients.encoded(clients.recipe(number), pixels))
    return keys


def timed(server: TrackProcess, what: str, rounds: int, read: Callable[[], int | None]) -> Read:
    """`read` in all rounds; what it returns is how many pictures that were."""
    seconds, requests, pictures = [], [], 0
    for _ in range(rounds):
        before, began = spent(server), time.perf_counter()
        pictures = read() or 0
        seconds.append(time.perf_counter() - began)
        requests.append((spent(server) - before).count)
    return Read(what, statistics.median(seconds), statistics.median(requests), pictures)


def ours(server: TrackProcess, keys: list[str], rounds: int) -> list[Read]:
    """By the reader that studio and report use."""
    from teststrip.track.reader import open_study
    from teststrip.wire.bringing import bring_from_mlflow

    def brought() -> None:
        with tempfile.TemporaryDirectory() as home:
            found = bring_from_mlflow(Path(home))
        if found.studies != (STUDY,) or found.faults:
            raise SystemExit(f"the study was not brought: {found}")

    def pictures(some: list[str]) -> int:
        study = open_study(server.home, STUDY)
        study.prepare()
        with ThreadPoolExecutor(4) as pool:
            sizes = [len(data) for data in pool.map(study.png, some)]
        if not all(sizes):
            raise SystemExit("an empty picture came back")
        return len(sizes)

    def numbers() -> None:
        if len(open_study(server.home, STUDY).recipes()) * SEEDS != len(keys):
            raise SystemExit("recipes are missing")

    count = len(keys)
    return [
        timed(server, f"table of {count:,} pictures and the study's facts", rounds, brought),
        timed(server, "parameters and metrics of every recipe", rounds, numbers),
        timed(
            server,
            "pictures of one screen, none read before",
            rounds,
            lambda: pictures(keys[:SCREEN]),
        ),
        timed(server, "all pictures, 4 at once", rounds, lambda: pictures(keys)),
    ]


def obvious(server: TrackProcess, sample: int, rounds: int) -> list[Read]:
    """By MLflow's own functions."""
    import mlflow

    def numbers() -> None:
        mlflow.search_runs(experiment_names=["teststrip"])

    runs = list(mlflow.search_runs(experiment_names=["beside"])["run_id"])[:sample]

    def pictures() -> int:
        count = 0
        for run in runs:
            with tempfile.TemporaryDirectory() as place, redirect_stderr(StringIO()):
                mlflow.artifacts.download_artifacts(
                    run_id=run, artifact_path="images", dst_path=place
                )
                count += len(list(Path(place).rglob("*.png")))
        if count != len(runs) * SEEDS:
            raise SystemExit("pictures are missing")
        return count

    return [
        timed(server, "`mlflow.search_runs` of every recipe", rounds, numbers),
        timed(
            server, f"`mlflow.artifacts.download_artifacts` of {len(runs)} runs", rounds, pictures
        ),
    ]


def main() -> None:
    """Measure, print the table, keep it if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--recipes", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=40, help="runs read the obvious way")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL and S3 instead")
    parser.add_argument("--quick", action="store_true", help="4 recipes, once")
    parser.add_argument("--out", type=Path, help="Markdown file whose part on reading to write")
    args = parser.parse_args()
    if args.quick:
        args.recipes, args.sample, args.rounds = 4, 2, 1
    store, busy = (POSTGRES if args.postgres else SQLITE), os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place, served(Path(place), store) as server:
        quiet = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
        os.environ |= server.client_env | quiet
        keys = record(server.home, args.recipes, args.sample)
        reads = ours(server, keys, args.rounds)
        beside = obvious(server, args.sample, args.rounds)
    pace = [read.pictures / read.seconds for read in (reads[-1], beside[-1])]
    rates = [read.requests / read.pictures for read in (reads[-1], beside[-1])]
    lines = [
        f"## Reading: {store}",
        "",
        f"`benchmarks/track/reading.py{' --postgres' if args.postgres else ''}`, "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores that client and server share; "
        f"{args.recipes} recipes with {SEEDS} pictures of 64 x 64 px; medians of {args.rounds}; "
        f"load of the machine before: {busy:.1f}.",
        "",
        "| Teststrip | seconds | requests | pictures a second |",
        "|---|---|---|---|",
        *(read.row() for read in reads),
        "",
        "| the obvious way | seconds | requests | pictures a second |",
        "|---|---|---|---|",
        *(read.row() for read in beside),
        "",
        f"Pictures a second: {pace[0] / pace[1]:.1f} times the obvious way; requests a picture: "
        f"{rates[0]:.2f} against {rates[1]:.2f}.",
    ]
    written(args.out, f"Reading, {store}", lines)


if __name__ == "__main__":
    main()
