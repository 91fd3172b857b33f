"""Recording: a study's recipes and pictures sent to a real tracking server, by several clients.

    .venv/bin/python benchmarks/track/recording.py --out docs/tracking-numbers.md
    scripts/services.sh run .venv/bin/python benchmarks/track/recording.py --postgres
    .venv/bin/python benchmarks/track/recording.py --quick

The server is `teststrip track serve` with log-in, in a process of its own; each client (clients.py)
is another, and both share the machine. Requests are counted by the server. The clients take turns
in `--rounds` rounds; the slow ones record fewer recipes, and a ratio compares seconds a recipe
within one round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from clients import SEEDS
from served import POSTGRES, SQLITE, served, spent
from tables import written

from teststrip.testing.track_process import TrackProcess

SAYS = {
    "obvious": "`start_run`, `log_params`, `log_metric`, `log_image(key=, step=)`",
    "careful": "`create_run`, `log_batch`, `log_artifacts` of a folder, `set_terminated`",
    "single": "Teststrip with one file for each picture",
    "teststrip": "Teststrip",
}


@dataclass
class Turns:
    """What a client did in all rounds. `seconds`, `encoding`: of each recipe, by round."""

    seconds: list[list[float]] = field(default_factory=list)
    encoding: list[list[float]] = field(default_factory=list)
    client_s: float = 0.0
    server_s: float = 0.0
    requests: int = 0
    png_bytes: int = 0

    @property
    def recipes(self) -> int:
        """How many were recorded."""
        return sum(map(len, self.seconds))

    @property
    def mean_s(self) -> float:
        """Seconds a recipe."""
        return sum(map(sum, self.seconds)) / self.recipes

    def mean_of(self, turn: int, *, with_encoding: bool = False) -> float:
        """Seconds a recipe in one round."""
        encoding = statistics.fmean(self.encoding[turn]) if with_encoding else 0
        return statistics.fmean(self.seconds[turn]) + encoding

    @property
    def median_s(self) -> float:
        """The recipe in the middle."""
        return statistics.median(s for turn in self.seconds for s in turn)


def take_turn(turns: Turns, server: TrackProcess, name: str, px: int, count: int) -> None:
    """`count` recipes by client `name`, added to its `turns`; start-up does not count."""
    study = f"{name} {px}"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "AWS_"))}
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as home:
        arguments = ["--study", study, "--first", str(turns.recipes), "--count", str(count)]
        arguments += ["--px", str(px), "--home", home]
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "clients.py"), name, *arguments],
            env=environment | quiet | server.client_env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stdin is not None
            assert process.stderr is not None
            if process.stdout.readline().strip() != "ready":
                raise SystemExit(f"{name}: {process.stderr.read()[-2000:]}")
            before = spent(server)
            process.stdin.write("go\n")
            process.stdin.flush()
            said = process.stdout.readline()
            if not said:
                raise SystemExit(f"{name}: {process.stderr.read()[-2000:]}")
            after = spent(server) - before
    told: dict[str, Any] = json.loads(said)
    turns.seconds.append(told["seconds"])
    turns.encoding.append(told["encoding"])
    turns.client_s += told["cpu_s"]
    turns.server_s += after.cpu_s
    turns.requests += after.count
    turns.png_bytes = told["png_bytes"]


def check(server: TrackProcess, px: int, recipes: int) -> None:
    """All that Teststrip recorded is there. Ends the program where it is not."""
    from teststrip.track.reader import open_study

    os.environ |= server.client_env
    study = f"teststrip {px}"
    record = open_study(Path(server.home), study, study)
    found, pictures = len(record.recipes()), len(record.pictures())
    if (found, pictures) != (recipes, recipes * SEEDS):
        raise SystemExit(f"{found} recipes and {pictures} pictures are there, not {recipes}")


def measured(args: argparse.Namespace, store: str, px: int, many: int, few: int) -> list[str]:
    """The table of one store and size: `many` recipes by Teststrip, `few` by the others."""
    turns = {name: Turns() for name in SAYS}
    with tempfile.TemporaryDirectory() as place, served(Path(place), store) as server:
        for _ in range(args.rounds):
            for name, own in turns.items():
                count = many if name == "teststrip" else few
                take_turn(own, server, name, px, max(1, count // args.rounds))
        check(server, px, turns["teststrip"].recipes)
    rows = [row(name, own, turns["obvious"]) for name, own in turns.items()]
    size = turns["teststrip"].png_bytes / 1000
    return [
        f"### Pictures of {px} x {px} px ({size:.0f} kB as PNG)",
        "",
        "| client | recipes | pictures a second | recipe, median ms | requests a recipe | CPU ms a "
        "recipe, client / server | times the obvious one (each round) | and with PNG encoding |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]


def row(name: str, own: Turns, obvious: Turns) -> str:
    """A line of the table."""
    turns = range(len(own.seconds))
    ratios = [obvious.mean_of(i) / own.mean_of(i) for i in turns]
    whole = [obvious.mean_of(i) / own.mean_of(i, with_encoding=True) for i in turns]
    each = f" ({', '.join(f'{r:.1f}' for r in ratios)})" if name != "obvious" else ""
    return (
        f"| {SAYS[name]} | {own.recipes} | {SEEDS / own.mean_s:.0f} | {1000 * own.median_s:.0f} | "
        f"{own.requests / own.recipes:.1f} | {1000 * own.client_s / own.recipes:.0f} / "
        f"{1000 * own.server_s / own.recipes:.0f} | {statistics.median(ratios):.1f}{each} | "
        f"{statistics.median(whole):.1f} |"
    )


def main() -> None:
    """Measure, print the tables, keep them if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--recipes", type=int, default=1000, help="by Teststrip, at 64 px")
    parser.add_argument("--large", type=int, default=100, help="by Teststrip, at 512 px; 0: none")
    parser.add_argument("--sample", type=int, default=40, help="by the others, at 64 px")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL and S3 instead")
    parser.add_argument("--quick", action="store_true", help="3 recipes of each, at 64 px")
    parser.add_argument("--out", type=Path, help="Markdown file whose part on recording to write")
    args = parser.parse_args()
    if args.quick:
        args.recipes, args.large, args.sample, args.rounds = 3, 0, 3, 1
    store, busy = (POSTGRES if args.postgres else SQLITE), os.getloadavg()[0]
    lines = measured(args, store, 64, args.recipes, args.sample)
    if args.large:
        lines += measured(args, store, 512, args.large, max(args.rounds, args.sample // 4))
    told = (
        f"`benchmarks/track/recording.py{' --postgres' if args.postgres else ''}`, "
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores that client and server share; "
        f"{SEEDS} pictures a recipe; load of the machine before: {busy:.1f}. A ratio compares "
        "seconds a recipe within one round. `log_image` encodes the pictures itself; the others "
        "are given PNGs, which a study has before it scores them (last column: with encoding)."
    )
    written(args.out, f"Recording, {store}", [f"## Recording: {store}", "", told, "", *lines])


if __name__ == "__main__":
    main()
