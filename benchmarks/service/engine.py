"""The engine under load: a Poisson trace of mixed recipes, served three ways.

    python benchmarks/service/engine.py --out docs/service-engine.md    (ten minutes on 2 cores)
    python benchmarks/service/engine.py --quick

Step batching (the engine), one job at a time and call-level batching (the plain diffusers pipeline,
requests of one recipe in one call) serve the same trace, the same precision, in turn. Load 1.0 is
what one job at a time can just do, measured here. At saturation all requests are there at once.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "engine"))
from models import sd15_random
from poisson import Served, Trace, arrivals, call_batching, one_at_a_time, step_batching
from traffic import mixed

from teststrip import Engine, Request
from teststrip.engine import loading
from teststrip.engine.device import TORCH_DTYPES, find, pick_dtype

STEP, ONE, CALL = "step batching", "one at a time", "call-level batching"
Server = Callable[[Trace], Served]


def requests_of(model: str, count: int, alike: float) -> list[Request]:
    """Mixed recipes, of which the share `alike` was turned into one and the same."""
    drawn = mixed(model, count)
    common = drawn[0].recipe.changed(scheduler="dpmpp_2m_karras", steps=16, guidance=5.0)
    every = int(1 / alike) if alike else count + 1
    return [
        Request(recipe=common, block=request.block) if number % every == 0 else request
        for number, request in enumerate(drawn)
    ]


def servers(args: argparse.Namespace, folder: str) -> dict[str, Server]:
    """The three, warmed up."""
    device = find(args.device)
    dtype = pick_dtype(args.dtype, device)
    pipe = loading.open_pipeline(Path(folder), TORCH_DTYPES[dtype], device)
    engine = Engine.open(folder, dtype=dtype, device=args.device, max_rows=args.rows)
    out: dict[str, Server] = {
        STEP: partial(step_batching, engine),
        ONE: partial(one_at_a_time, pipe),
        CALL: partial(call_batching, pipe, max_rows=args.rows),
    }
    for serve in out.values():
        serve([(0.0, request) for request in mixed(folder, 12)])
    return out


def measure(args: argparse.Namespace, folder: str) -> list[dict[str, Any]]:
    """One row for each share of equal recipes, load and server; medians of the repeats."""
    field, rows = servers(args, folder), []
    for alike in args.alike:
        requests = requests_of(folder, args.count, alike)
        at_once = [(0.0, request) for request in requests]
        runs = [
            {name: serve(at_once) for name, serve in field.items()} for _ in range(args.repeats)
        ]
        capacity = statistics.median(run[ONE].images_per_s for run in runs)
        rows += summed(args, runs, alike, "saturation")
        for load in args.loads:
            runs = []
            for repeat in range(args.repeats):
                moments = arrivals(len(requests), load * capacity, seed=repeat)
                trace = list(zip(moments, requests, strict=True))
                runs.append({name: serve(trace) for name, serve in field.items()})
            rows += summed(args, runs, alike, f"{load:g}")
        print(f"alike {alike:g}: one at a time makes {capacity:.2f} images/s", file=sys.stderr)
    return rows


def summed(
    args: argparse.Namespace, runs: list[dict[str, Served]], alike: float, load: str
) -> list[dict[str, Any]]:
    """Rows of the table; ratios are medians of the ratio within each repeat."""

    def middle(value: Callable[[dict[str, Served]], float]) -> float:
        return statistics.median(value(run) for run in runs)

    return [
        {
            "alike": alike,
            "load": load,
            "server": name,
            "images_per_s": middle(lambda run, n=name: run[n].images_per_s),
            "times": middle(lambda run, n=name: run[n].images_per_s / run[ONE].images_per_s),
            "p50_s": middle(lambda run, n=name: run[n].latency(0.5)),
            "p95_s": middle(lambda run, n=name: run[n].latency(0.95)),
            "occupancy": middle(lambda run, n=name: run[n].occupancy(args.rows)),
            "images_a_call": middle(lambda run, n=name: run[n].images / run[n].calls),
        }
        for name in runs[0]
    ]


def markdown(args: argparse.Namespace, rows: list[dict[str, Any]]) -> str:
    """The tables, one for each share of equal recipes."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    dtype = pick_dtype(args.dtype, find(args.device))
    lines = [
        f"`python benchmarks/service/engine.py`, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} "
        f"{platform.machine()} cores, {device}, torch {torch.__version__}, model {args.model}, "
        f"{dtype}, {args.rows} rows, {args.count} requests a trace, {args.repeats} repeats, other "
        f"load of the machine {args.busy:.1f}."
    ]
    for alike in args.alike:
        what = f"{alike:.0%} of the requests share one recipe" if alike else "all recipes mixed"
        lines += [
            f"\n**{what}**\n",
            "| load | server | images/s | times one at a time | p50 s | p95 s | rows in use "
            "| images a call |",
            "|---|---|---|---|---|---|---|---|",
        ]
        lines += [
            f"| {row['load']} | {row['server']} | {row['images_per_s']:.2f} | {row['times']:.2f} | "
            f"{row['p50_s']:.2f} | {row['p95_s']:.2f} | {row['occupancy']:.0%} | "
            f"{row['images_a_call']:.1f} |"
            for row in rows
            if row["alike"] == alike
        ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the tables, keep them if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="builtin", help="shipped name, folder, or sd15-random")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--count", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--loads", type=float, nargs="*", default=[0.5, 0.8, 1.0, 1.5])
    parser.add_argument("--alike", type=float, nargs="*", default=[0.0, 0.5])
    parser.add_argument("--quick", action="store_true", help="16 requests, once, two loads")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    args = parser.parse_args()
    if args.quick:
        args.count, args.repeats, args.alike, args.loads = 16, 1, [0.0], [0.8, 1.5]
    args.busy = os.getloadavg()[0]

    with tempfile.TemporaryDirectory() as scratch:
        folder = str(sd15_random(Path(scratch))) if args.model == "sd15-random" else args.model
        table = markdown(args, measure(args, str(loading.find_folder(folder))))
    print(table)
    if args.out:
        args.out.write_text(f"# The engine under load\n\n{table}")


if __name__ == "__main__":
    main()
