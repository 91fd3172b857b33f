"""What LoRA adapters cost: in a forward, at a swap, at the first use; and mixed traffic.

    python benchmarks/engine/adapters.py                    the built-in model on this machine
    python benchmarks/engine/adapters.py --model sd15-random --dtype bf16 --device cuda

Wall and CPU seconds are medians of repetitions in turn; on shared cores only CPU can be trusted.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from models import sd15_random

from teststrip import Block, Engine, Generation, Recipe, Request
from teststrip.engine import loading
from teststrip.recipe import Lora
from teststrip.testing.tiny_lora import tiny_lora


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """(wall, CPU) milliseconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - wall), 1000 * (time.process_time() - cpu)


def costs(
    engine: Engine, loras: Sequence[Path], repeats: int
) -> dict[str, list[tuple[float, float]]]:
    """One forward of 8 rows without and with adapters, a swap, a first use."""
    pipeline = engine._pipeline
    sets = {
        "no adapter": (),
        "one adapter": (Lora(path=str(loras[0])),),
        "another": (Lora(path=str(loras[1])),),
        "two at once": (Lora(path=str(loras[0])), Lora(path=str(loras[1]), scale=0.5)),
    }
    found = {name: engine._adapters.find(each) for name, each in sets.items()}
    width, height = pipeline.size(engine.default_recipe)
    noise = pipeline.initial_noise(width, height, torch.Generator().manual_seed(0))
    rows = noise.repeat(8, 1, 1, 1)
    condition = pipeline.encode("a cat", clip_skip=0)
    times = torch.full((8,), 500.0)

    def forward() -> None:
        with torch.inference_mode():
            pipeline.denoise(rows, times, [condition] * 8, [7.5] * 8)

    out: dict[str, list[tuple[float, float]]] = {}
    for _ in range(repeats):
        for name in ("no adapter", "one adapter", "two at once"):
            pipeline.use_adapters(found[name])
            forward()
            out.setdefault(f"forward of 8 rows, {name}", []).append(timed(forward))
        pipeline.use_adapters(found["one adapter"])
        swap = timed(lambda: pipeline.use_adapters(found["another"]))
        out.setdefault("swap between two that are loaded", []).append(swap)
        off = timed(lambda: pipeline.use_adapters(()))
        out.setdefault("swap to none", []).append(off)
        for digest, name in list(pipeline.adapters._loaded.items()):
            pipeline.adapters._loaded.pop(digest)
            from teststrip.engine.adapters import _delete

            for model in pipeline.adapters._models.values():
                _delete(model, name)
        first = timed(lambda: pipeline.use_adapters(found["one adapter"]))
        out.setdefault("first use of a file (read, check, load)", []).append(first)
    return out


def traffic(
    engine: Engine, loras: Sequence[Path], count: int, order: str, patience: int
) -> tuple[tuple[float, float], int]:
    """`count` images over the adapters, mixed or sorted: (wall, CPU) ms, and swaps."""
    base = engine.default_recipe
    recipes = [base.changed(loras=[Lora(path=str(path))], steps=8) for path in loras]
    requests = [
        Request(recipe=recipes[k % len(loras)], block=Block(prompt="a cat", seed=k))
        for k in range(count)
    ]
    if order == "sorted":
        requests.sort(key=lambda request: request.recipe.loras[0].path)
    engine._scheduler.patience = patience
    swaps: list[Any] = []
    inner = engine._pipeline.use_adapters

    def counted(adapters: Any) -> None:
        if not swaps or swaps[-1] != adapters:
            swaps.append(adapters)
        inner(adapters)

    engine._pipeline.use_adapters = counted  # type: ignore[method-assign]

    def work() -> None:
        made = [out for out in engine.generate(requests) if isinstance(out, Generation)]
        if len(made) != count:
            raise RuntimeError(f"made {len(made)} of {count} pictures")

    spent = timed(work)
    engine._pipeline.use_adapters = inner  # type: ignore[method-assign]
    return spent, len(swaps)


def one_by_one(pipe: Any, loras: Sequence[Path], recipe: Recipe, count: int) -> tuple[float, float]:
    """The plain pipeline in the same mixed order: each image sets its adapter, then runs alone."""
    with loading.quiet_libraries():
        for k, path in enumerate(loras):
            pipe.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name=f"a{k}")

    def work() -> None:
        for k in range(count):
            pipe.set_adapters([f"a{k % len(loras)}"], [1.0])
            pipe(
                "a cat",
                num_inference_steps=8,
                guidance_scale=recipe.guidance,
                width=recipe.width,
                height=recipe.height,
                generator=torch.Generator("cpu").manual_seed(k),
            )

    return timed(work)


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="builtin", help="shipped name, folder, or sd15-random")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--sets", type=int, default=4)
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        model = str(sd15_random(folder)) if args.model == "sd15-random" else args.model
        place = Path(loading.find_folder(model))
        loras = [
            tiny_lora(Path(scratch) / str(k), place, seed=k, rank=args.rank, std=0.02)
            for k in range(args.sets)
        ]
        report = measure(args, model, place, loras)
    for title, rows in report.items():
        print(f"\n### {title}\n\n| what | wall ms | CPU ms | swaps |\n|---|---|---|---|")
        for row in rows:
            print(f"| {row['what']} | {row['wall']:.1f} | {row['cpu']:.1f} | {row['swaps']} |")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2))


def measure(
    args: argparse.Namespace, model: str, place: Path, loras: Sequence[Path]
) -> dict[str, list[dict[str, Any]]]:
    """All of it, in turn."""
    with Engine.open(model, device=args.device, dtype=args.dtype) as engine:
        single = costs(engine, loras, args.repeats)
        runs: dict[str, list[tuple[float, float]]] = {}
        swaps: dict[str, int] = {}
        recipe = engine.default_recipe
        plain = loading.open_pipeline(
            place, getattr(torch, _TORCH[engine.dtype]), engine._pipeline.device
        )
        for _ in range(max(args.repeats // 2, 2)):
            for name, order, patience in (
                ("engine, mixed", "mixed", 64),
                ("engine, mixed, first come first served", "mixed", 0),
                ("engine, sorted by adapter", "sorted", 64),
            ):
                spent, count = traffic(engine, loras, args.count, order, patience)
                runs.setdefault(name, []).append(spent)
                swaps[name] = count
            name = "diffusers, one by one with set_adapters"
            runs.setdefault(name, []).append(one_by_one(plain, loras, recipe, args.count))
            plain.unload_lora_weights()
            swaps[name] = args.count
    return {
        "One at a time": [_row(what, values) for what, values in single.items()],
        f"{args.count} images of 8 steps over {len(loras)} adapters": [
            _row(what, values, swaps[what]) for what, values in runs.items()
        ],
    }


_TORCH = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def _row(what: str, values: Sequence[tuple[float, float]], swaps: int | str = "") -> dict[str, Any]:
    wall, cpu = (statistics.median(column) for column in zip(*values, strict=True))
    return {"what": what, "wall": wall, "cpu": cpu, "swaps": swaps}


if __name__ == "__main__":
    main()
