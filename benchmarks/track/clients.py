"""The clients that are compared, each in a process of its own.

    clients.py NAME --study S --first 0 --count 20 --px 64 --home DIR     prints one line of JSON

`obvious`: what MLflow's pages show, `start_run`, `log_params`, `log_metric` for each number,
`log_image(key=, step=)` for each picture. `careful`: MLflow's client API with one `log_batch`, and
`log_artifacts` of a folder of our PNGs. `teststrip`: MlflowTracker. `single`: the same without
pages of pictures, one file each.

`obvious` is given pixels, since `log_image` takes nothing else and encodes them itself; the others
are given the PNGs that a study has anyway before it scores them. Their encoding is timed apart.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from teststrip import png
from teststrip.recipe import Block, Recipe, Request

SEEDS = 16
PROMPTS = ("a red apple on a table", "a lighthouse in a storm", "a cat", "two green bottles")
Pixels = NDArray[np.uint8]
Log = Callable[[int, Any], None]  # records one recipe: its number; pixels, or PNGs by file name


def recipe(number: int) -> Recipe:
    """Each is another."""
    return Recipe(guidance=1 + number / 1000, steps=10 + number % 7)


def numbers(number: int) -> dict[str, float]:
    """Twelve metrics of a recipe, as a study with three scores has them."""
    rng = np.random.default_rng(number)
    names = [
        f"{s}@1{end}" for s in ("clip_small", "sharpness", "aesthetic") for end in ("", ".low")
    ]
    return {n: float(rng.random()) for n in [*names, "blocks", "trial", "seconds", "a", "b", "c"]}


def pictures(px: int) -> list[Pixels]:
    """Sixteen of px x px, uint8 [H, W, 3]: soft shapes with a little noise, as a model makes."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(SEEDS):
        rough = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        soft = np.asarray(rough.resize((px, px), Image.Resampling.BICUBIC), dtype=int)
        found.append(np.clip(soft + rng.integers(-2, 3, soft.shape), 0, 255).astype(np.uint8))
    return found


def encoded(made: Recipe, pixels: list[Pixels]) -> dict[str, bytes]:
    """A study's PNGs of one recipe, by file name."""
    found = {}
    for seed, picture in enumerate(pixels):
        request = Request(recipe=made, block=Block(prompt=PROMPTS[seed % 4], seed=seed))
        key = request.image_key("benchmark")
        facts = {"image_key": key, "fingerprint": "benchmark"}
        found[f"{seed:03d}-{key}.png"] = png.write(picture, request, facts)
    return found


def obvious(args: argparse.Namespace) -> Log:
    """As a first program with MLflow would."""
    import mlflow

    mlflow.set_experiment(args.study)

    def log(number: int, pixels: list[Pixels]) -> None:
        with mlflow.start_run(run_name=recipe(number).recipe_id):
            mlflow.log_params(recipe(number).model_dump(mode="json"))
            for name, value in numbers(number).items():
                mlflow.log_metric(name.replace("@", ":"), value)
            for seed, picture in enumerate(pixels):
                mlflow.log_image(picture, key="picture", step=seed)

    return log


def careful(args: argparse.Namespace) -> Log:
    """As somebody who has read all of MLflow's documentation would."""
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Param

    client = MlflowClient()
    found = client.get_experiment_by_name(args.study)
    experiment = found.experiment_id if found else client.create_experiment(args.study)

    def log(number: int, images: dict[str, bytes]) -> None:
        made, now = recipe(number), int(time.time() * 1000)
        run = client.create_run(experiment, run_name=made.recipe_id).info.run_id
        metrics = [Metric(k.replace("@", ":"), v, now, 0) for k, v in numbers(number).items()]
        params = [Param(k, str(v)) for k, v in made.model_dump(mode="json").items()]
        client.log_batch(run, metrics=metrics, params=params)
        with tempfile.TemporaryDirectory() as place:
            for name, data in images.items():
                (Path(place) / name).write_bytes(data)
            client.log_artifacts(run, place, "images")
        client.set_terminated(run)

    return log


def teststrip(args: argparse.Namespace) -> Log:
    """As our studies do."""
    from teststrip.track import packs
    from teststrip.track.mlflow import MlflowTracker

    if args.name == "single":
        packs.LARGE = 0
    tracker = MlflowTracker(args.home, args.study)
    tracker.start_study(args.study, {"name": args.study})

    def log(number: int, images: dict[str, bytes]) -> None:
        tracker.log_recipe(args.study, recipe(number), {}, numbers(number), images, "done")

    return log


CLIENTS = {"obvious": obvious, "careful": careful, "teststrip": teststrip, "single": teststrip}


def cpu_s() -> float:
    """Of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Open the store, say so, wait for a line, record, and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=CLIENTS)
    parser.add_argument("--study", required=True)
    parser.add_argument("--first", type=int, required=True, help="number of the first recipe")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--px", type=int, required=True)
    parser.add_argument("--home", type=Path, required=True)
    args = parser.parse_args()
    os.environ |= {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
    log, pixels = CLIENTS[args.name](args), pictures(args.px)
    print("ready", flush=True)
    input()
    took: list[float] = []
    encoding: list[float] = []
    cpu = 0.0
    for number in range(args.first, args.first + args.count):
        began = time.perf_counter()
        given: Any = pixels if args.name == "obvious" else encoded(recipe(number), pixels)
        encoding.append(time.perf_counter() - began)
        began, cpu_began = time.perf_counter(), cpu_s()
        log(number, given)
        took.append(time.perf_counter() - began)
        cpu += cpu_s() - cpu_began
    size = len(next(iter(encoded(recipe(0), pixels).values())))
    told = {"seconds": took, "encoding": encoding, "cpu_s": cpu, "png_bytes": size}
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
