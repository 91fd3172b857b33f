"""Images per second of the engine against the plain pipeline, interleaved in one run.

    python benchmarks/engine/run.py                     the built-in model on this machine
    python benchmarks/engine/run.py --model sd15-random --size 512 --dtype bf16 --compile

Every repetition runs all contenders in turn; ratios are medians of paired repetitions. Wall and
CPU seconds are given side by side: on shared cores only the second can be trusted alone.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
import plain
from models import sd15_random
from traffic import TRAFFICS

from teststrip import Engine, Generation, Request
from teststrip.engine import loading
from teststrip.engine.device import TORCH_DTYPES, find, pick_dtype


class Share:
    """Seconds spent inside a module's forward, to tell the model from everything else."""

    def __init__(self, module: Any, name: str) -> None:
        self.seconds = 0.0
        inner = getattr(module, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return inner(*args, **kwargs)
            finally:
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                self.seconds += time.perf_counter() - begun

        setattr(module, name, timed)


def timed(work: Callable[[list[Request]], int], requests: list[Request]) -> tuple[float, float]:
    """(wall, CPU) seconds of a contender, which must have made every picture."""
    wall, cpu = time.perf_counter(), time.process_time()
    made = work(requests)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    if made != len(requests):
        raise RuntimeError(f"made {made} of {len(requests)} pictures")
    return time.perf_counter() - wall, time.process_time() - cpu


def run_engine(engine: Engine, requests: list[Request]) -> int:
    """Pictures made by the engine."""
    return sum(isinstance(out, Generation) for out in engine.generate(requests))


def contenders(args: argparse.Namespace, folder: str) -> dict[str, Callable[[list[Request]], int]]:
    """Who runs, by name; the first is what ratios are told against."""
    device = find(args.device)
    dtype = pick_dtype(args.dtype, device)
    same = loading.open_pipeline(Path(folder), TORCH_DTYPES[dtype], device)
    engine = Engine.open(folder, dtype=dtype, device=args.device, max_rows=args.rows)
    out: dict[str, Callable[[list[Request]], int]] = {}
    if dtype != "fp32" and device.type == "cpu":
        full = loading.open_pipeline(Path(folder), torch.float32, device)
        out["plain fp32, one by one"] = partial(plain.one_by_one, full)
        engine32 = Engine.open(folder, dtype="fp32", device=args.device, max_rows=args.rows)
        out["plain fp32, grouped"] = lambda requests: plain.grouped(full, requests, args.rows)
        out["engine fp32"] = lambda requests: run_engine(engine32, requests)
    out[f"plain {dtype}, one by one"] = lambda requests: plain.one_by_one(same, requests)
    out[f"plain {dtype}, grouped"] = lambda requests: plain.grouped(same, requests, args.rows)
    if args.compile:
        fast = loading.open_pipeline(Path(folder), TORCH_DTYPES[dtype], device)
        fast.unet.to(memory_format=torch.channels_last)
        fast.unet = torch.compile(fast.unet, mode="max-autotune-no-cudagraphs", dynamic=False)
        name = f"plain {dtype}, grouped, compiled, channels_last"
        out[name] = lambda requests: plain.grouped(fast, requests, args.rows)
    out[f"engine {dtype}"] = lambda requests: run_engine(engine, requests)
    return out


def main() -> None:
    """Measure, print Markdown tables, keep the JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="builtin", help="shipped name, folder, or sd15-random")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--traffic", nargs="*", default=list(TRAFFICS))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        folder = str(sd15_random(Path(scratch))) if args.model == "sd15-random" else args.model
        folder = str(loading.find_folder(folder))
        report = measure(args, folder)
    print(json.dumps(report["machine"]))
    for traffic, rows in report["traffics"].items():
        print(
            f"\n### {traffic}\n\n| contender | wall s | CPU s | times the first |\n"
            + "|---" * 4
            + "|"
        )
        for row in rows:
            print(
                f"| {row['name']} | {row['wall_s']:.2f} | {row['cpu_s']:.2f} | {row['ratio']:.2f} |"
            )
    print(f"\nEngine: share of wall time outside UNet and VAE: {report['outside_share']:.1%}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


def measure(args: argparse.Namespace, folder: str) -> dict[str, Any]:
    """All contenders on all traffics, interleaved."""
    field = contenders(args, folder)
    traffics: dict[str, Any] = {}
    for name in args.traffic:
        requests = TRAFFICS[name](folder, args.count)
        for work in field.values():
            work(requests[:: max(len(requests) // 8, 1)])  # warm up
        walls: dict[str, list[tuple[float, float]]] = {contender: [] for contender in field}
        for _ in range(args.repeats):
            for contender, work in field.items():
                walls[contender].append(timed(work, requests))
        first = next(iter(field))
        traffics[name] = [
            {
                "name": contender,
                "wall_s": statistics.median(w for w, _ in times),
                "cpu_s": statistics.median(c for _, c in times),
                "ratio": statistics.median(
                    a[0] / b[0] for a, b in zip(walls[first], times, strict=True)
                ),
                "all_wall_s": [round(w, 3) for w, _ in times],
            }
            for contender, times in walls.items()
        ]
    return {
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "torch": torch.__version__,
            "load_average": os.getloadavg()[0],
            "rows": args.rows,
            "count": args.count,
            "repeats": args.repeats,
        },
        "traffics": traffics,
        "outside_share": outside_share(args, folder),
    }


def outside_share(args: argparse.Namespace, folder: str) -> float:
    """Share of the engine's wall time that is neither UNet nor VAE, on mixed traffic."""
    with Engine.open(folder, dtype=args.dtype, device=args.device, max_rows=args.rows) as engine:
        pipeline: Any = engine._pipeline
        requests = TRAFFICS["mixed"](folder, args.count)
        run_engine(engine, requests[:8])
        parts = [Share(pipeline.unet, "forward"), Share(pipeline.pipe.vae, "decode")]
        wall, _ = timed(partial(run_engine, engine), requests)
        return 1 - sum(part.seconds for part in parts) / wall


if __name__ == "__main__":
    main()
