"""Steps per second and peak memory: our loop against diffusers' example scripts, interleaved.

    python benchmarks/train/speed.py                      the built-in model, both scripts
    python benchmarks/train/speed.py --model sd15 --device cuda --precision bf16 --size 512
                                                          SD 1.5's size with random weights

Same model, pictures, batch, precision and optimizer. Each measurement is a process of its own, so
that peak memory is its own; contenders take turns. Wall and CPU seconds stand side by side: on
shared cores only the second can be trusted. Ratios are medians over rounds. "without caches" is
our loop with both caches off. The losses of all steps are compared at the end.
"""

import argparse
import hashlib
import itertools
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
KINDS = ("lora", "dreambooth")
CONTENDERS = ("diffusers", "ours", "ours without caches")
WARM = 3


class Clock:
    """Wall and CPU seconds of each step."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._last = (time.perf_counter(), time.process_time())

    def tick(self) -> None:
        """A step has ended."""
        now = (time.perf_counter(), time.process_time())
        self.wall.append(now[0] - self._last[0])
        self.cpu.append(now[1] - self._last[1])
        self._last = now


def make_pictures(work: Path, size: int) -> None:
    """Subject and class pictures at `size` px: 24 captioned ones, 24 of the class."""
    sys.path.insert(0, str(HERE.parent.parent / "examples" / "train"))
    from draw_subject import picture, poses

    for name in ("pictures", "class"):
        (work / name).mkdir()
    lines = []
    for k, pose in enumerate(poses()):
        drawn = picture(pose).resize((size, size), Image.Resampling.LANCZOS)
        drawn.save(work / "pictures" / f"{k:02}.png")
        drawn.rotate(180).save(work / "class" / f"{k:02}.png")
        text = f"a picture of a monster on a {pose.background} background"
        lines.append(json.dumps({"file_name": f"{k:02}.png", "text": text}))
    (work / "pictures" / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")


def class_pictures(folder: Path) -> list[Any]:
    """The class pictures as our loop takes them."""
    from teststrip.train.data.picture import Picture, size_of

    found = []
    for path in sorted(folder.glob("*.png")):
        data = path.read_bytes()
        width, height = size_of(data)
        digest = hashlib.sha256(data).hexdigest()
        words = "a picture of an alien"
        found.append(
            Picture(path.name, words, digest, width, height, is_class=True, read=path.read_bytes)
        )
    return found


def run_diffusers(given: argparse.Namespace, clock: Clock) -> dict[str, Any]:
    """The example script's loop."""
    import reference

    from teststrip.engine.device import TORCH_DTYPES

    prior = given.kind == "dreambooth"
    settings = reference.Settings(
        model=given.folder,
        pictures=given.work / "pictures",
        steps=given.steps,
        batch=given.batch,
        seed=given.seed,
        size=given.size,
        dtype=TORCH_DTYPES[given.precision],
        device=given.device,
        class_folder=given.work / "class" if prior else None,
        instance_prompt="a picture of a zwx alien" if prior else "",
        class_prompt="a picture of an alien" if prior else "",
    )
    return {"losses": reference.train(settings, lambda _: clock.tick()).losses}


def run_ours(given: argparse.Namespace, clock: Clock, *, caches: bool) -> dict[str, Any]:
    """Our loop: `teststrip train run` without its measures."""
    from teststrip.train.config import TrainConfig
    from teststrip.train.data.examples import Examples
    from teststrip.train.data.prepare import prepare
    from teststrip.train.folder import RunFolder
    from teststrip.train.loop import train
    from teststrip.train.model import open_model

    data: dict[str, Any] = {"source": str(given.work / "pictures"), "held_out": 0}
    prior: dict[str, Any] = {}
    if given.kind == "dreambooth":
        prior["subject"] = {
            "instance_prompt": "a picture of a zwx alien",
            "class_prompt": "a picture of an alien",
            "class_pictures": 24,
            "prior_weight": 1.0,
        }
    config = TrainConfig.model_validate(
        {
            "name": "speed",
            "base": str(given.folder),
            "data": data,
            "optimizer": {"lr": 1e-3},
            "steps": given.steps,
            "batch": given.batch,
            "seed": given.seed,
            "precision": given.precision,
            "cache": {"latents": caches, "texts": caches},
        }
        | prior
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = RunFolder(Path(scratch) / "runs" / "speed")
        folder.path.mkdir(parents=True)
        classes = class_pictures(given.work / "class") if prior else []
        prepared = prepare(config, folder.path, classes)
        model = open_model(config, given.device)
        cache = Path(scratch) / "cache" if caches else None
        pictures = (*prepared.train, *prepared.classes)
        examples = Examples(pictures, config, model, cache)
        begun = time.process_time()
        if caches:
            examples.fill()
        filled = time.process_time() - begun
        losses: list[float] = []

        def on_event(event: Any) -> None:
            if event.kind == "step":
                losses.append(event.numbers["loss"])
                clock.tick()

        train(config, model, examples, folder, None, on_event=on_event)
    return {"losses": losses, "fill_cpu_s": filled}


def share_timesteps(steps: int = 1000) -> Callable[[], None]:
    """Let both loops draw the same timesteps, evenly spread: most of a loss's noise is theirs.

    Both ask `torch.randint` for them; returns what undoes it.
    """
    import torch

    real = torch.randint
    calls = itertools.count()

    def spread(low: int, high: int, size: tuple[int, ...], **options: Any) -> Any:
        if high != steps:
            return real(low, high, size, **options)
        rng = np.random.default_rng(next(calls))
        count = size[0]
        drawn = ((np.arange(count) + rng.random(count)) * steps / count).astype(np.int64)
        halves = [rng.permutation(drawn[k::2]) for k in range(2)]  # subject rows, class rows
        return torch.from_numpy(np.concatenate(halves))

    torch.randint = spread
    return lambda: setattr(torch, "randint", real)


def one(given: argparse.Namespace) -> None:
    """Measure one contender in this process; prints JSON."""
    import torch

    torch.set_num_threads(given.threads)
    if given.share_timesteps:
        share_timesteps()
    clock = Clock()
    if given.one == "diffusers":
        found = run_diffusers(given, clock)
    else:
        found = run_ours(given, clock, caches=given.one == "ours")
    found["wall_s"] = statistics.median(clock.wall[WARM:])
    found["cpu_s"] = statistics.median(clock.cpu[WARM:])
    if given.device == "cuda":
        found["peak_mb"] = torch.cuda.max_memory_allocated() / 2**20
    else:
        found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("RESULT " + json.dumps(found))


def measure(given: argparse.Namespace, kind: str, contender: str, seed: int) -> dict[str, Any]:
    """One contender in a fresh process."""
    options = {
        "one": contender,
        "kind": kind,
        "folder": given.folder,
        "work": given.work,
        "steps": given.steps,
        "batch": given.batch,
        "size": given.size,
        "seed": seed,
        "threads": given.threads,
        "device": given.device,
        "precision": given.precision,
    }
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    if given.share_timesteps:
        flags.append("--share-timesteps")
    done = subprocess.run(
        [sys.executable, __file__, *flags], capture_output=True, text=True, check=False
    )
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            return dict(json.loads(line.removeprefix("RESULT ")))
    raise SystemExit(f"{kind}, {contender}: exit {done.returncode}\n{done.stderr[-3000:]}")


def summary(kind: str, found: dict[str, list[dict[str, Any]]], device: str) -> list[str]:
    """Rows of the table for one kind; ratios of CPU seconds on a CPU, of wall seconds on a GPU."""
    rows = []
    base = found["diffusers"]
    for name, runs in found.items():
        wall, cpu = (statistics.median(r[k] for r in runs) for k in ("wall_s", "cpu_s"))
        kept = "cpu_s" if device == "cpu" else "wall_s"
        paired = [b[kept] / r[kept] for b, r in zip(base, runs, strict=True)]
        peak = statistics.median(r["peak_mb"] for r in runs)
        losses = np.array([loss for r in runs for loss in r["losses"]])
        error = 1.96 * losses.std(ddof=1) / math.sqrt(len(losses))
        rows.append(
            f"| {kind} | {name} | {1 / wall:.2f} | {cpu:.3f} | "
            f"{statistics.median(paired):.2f} ({min(paired):.2f} to {max(paired):.2f}) | "
            f"{peak:.0f} | {losses.mean():.4f} ± {error:.4f} |"
        )
    fills = [r["fill_cpu_s"] for r in found["ours"]]
    return [
        *rows,
        f"| {kind} | filling the caches, once | | {statistics.median(fills):.1f} | | | |",
    ]


def compare(given: argparse.Namespace) -> None:
    """All contenders in turn, for each kind; prints a table and writes --out."""
    from teststrip.engine.loading import find_folder

    with tempfile.TemporaryDirectory() as scratch:
        given.work = Path(scratch)
        given.folder = find_folder("builtin")
        if given.model == "sd15":
            sys.path.insert(0, str(HERE.parent / "engine"))
            from models import sd15_random

            given.folder = sd15_random(Path(scratch) / "model")
        make_pictures(given.work, given.size)
        results: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for kind in given.kinds:
            found: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
            for seed in range(given.rounds):
                for name in CONTENDERS:
                    found[name].append(measure(given, kind, name, seed))
                    print(kind, seed, name, f"{found[name][-1]['cpu_s']:.3f} CPU s", flush=True)
            results[kind] = found
    print(
        f"\nmodel {given.model}, {given.size} px, batch {given.batch}, rank 8, "
        f"{given.precision}, {given.device}, {given.threads} thread(s), "
        f"{given.rounds} rounds of {given.steps} steps\n"
    )
    print("| script | loop | steps/s | CPU s/step | times faster | peak MB | mean loss |")
    print("|---|---|---|---|---|---|---|")
    for kind, found in results.items():
        print("\n".join(summary(kind, found, given.device)))
    if given.out:
        given.out.write_text(json.dumps(results), encoding="utf-8")


def main() -> None:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", choices=("builtin", "sd15"), default="builtin")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--size", type=int, default=64, help="px")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument(
        "--share-timesteps", action="store_true", help="the same ones for both: compare losses"
    )
    parser.add_argument("--out", type=Path, help="JSON with every number")
    for name in ("one", "kind"):
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in ("folder", "work"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    one(given) if given.one else compare(given)


if __name__ == "__main__":
    main()
