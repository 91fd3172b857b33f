"""A synthetic study of any size for the studio's benchmarks, built without a model.

    python benchmarks/studio/make.py PLACE                  2,000 recipes x 50 blocks = 100,000
    python benchmarks/studio/make.py PLACE --recipes 200    10,000 images
    python benchmarks/studio/make.py PLACE --recipes 40     2,000 images

PLACE becomes a home (TESTSTRIP_HOME) with one study, `bench`, a full grid of four settings. Its
table has a row for each image; its pictures are hard links to 64 real PNGs of 256 px, so that it
is built in a minute and takes little disk.
"""

import argparse
import io
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from teststrip.recipe import Recipe, short_hash
from teststrip.study.folder import StudyFolder
from teststrip.study.load import resolve

SHAPES = {2000: (5, 10, 8, 5), 200: (5, 10, 4, 1), 40: (5, 4, 2, 1)}
SCHEDULERS = ["ddim", "euler", "euler_a", "dpmpp_2m", "unipc"]
THINGS = ["owl", "fox", "apple", "camera", "guitar", "rocket", "cactus", "lighthouse", "teapot"]
TAGS = ["animal", "food", "place", "product"]
PROMPTS, SEEDS, PICTURES, PIXELS = 25, 2, 64, 256
SCORES = {
    "synthetic@1": True,
    "clip_small@1": True,
    "aesthetic@1": True,
    "technical.sharpness@1": True,
    "technical.noise@1": False,
    "technical.defects@1": False,
}
NAME, OBJECTIVE = "bench", "synthetic@1"


def config(recipes: int) -> dict[str, Any]:
    """The study's file."""
    _, steps, guidances, rescales = SHAPES[recipes]
    return {
        "name": NAME,
        "generator": "synthetic",
        "scorers": ["synthetic", "technical"],
        "objectives": ["synthetic"],
        "prompts": {
            "items": [
                {"text": f"a photo of a {THINGS[i % 9]} number {i}", "tags": [TAGS[i % 4]]}
                for i in range(PROMPTS)
            ]
        },
        "seeds": SEEDS,
        "space": {
            "scheduler": SCHEDULERS,
            "steps": [4 + 4 * i for i in range(steps)],
            "guidance": [2 + 1.5 * i for i in range(guidances)],
            "rescale": [round(0.2 * i, 1) for i in range(rescales)],
        },
        "baseline": {"scheduler": "ddim", "steps": 4, "guidance": 2, "rescale": 0.0},
        "design": {"kind": "grid"},
        "race": {"kind": "none"},
    }


def table(recipes: int, study: Any) -> tuple[pd.DataFrame, list[Recipe]]:
    """A row for each image, with effects of settings, prompts, seeds and chance in its scores."""
    rng = np.random.default_rng(7)
    space = config(recipes)["space"]
    grid = np.array(np.meshgrid(*(range(len(v)) for v in space.values()), indexing="ij"))
    picks = grid.reshape(len(space), -1).T
    base = study.recipe.model_dump() if hasattr(study.recipe, "model_dump") else dict(study.recipe)
    made = []
    for pick in picks:
        own = {n: v[k] for (n, v), k in zip(space.items(), pick, strict=True)}
        made.append(Recipe(**(base | own)))
    blocks = PROMPTS * SEEDS
    i, b = np.divmod(np.arange(recipes * blocks), blocks)
    prompt, seed = b % PROMPTS, b // PROMPTS
    effect = 0.3 * (picks[:, 0] == 3) + 0.4 * np.sqrt(picks[:, 1]) - 0.02 * (picks[:, 2] - 3) ** 2
    truth = (effect + rng.normal(0, 0.2, recipes))[i] + rng.normal(0, 1, blocks)[b]
    items = config(recipes)["prompts"]["items"]
    keys = [short_hash({"recipe": int(r), "block": int(k)}, 24) for r, k in zip(i, b, strict=True)]
    scores = {name: truth + rng.normal(0, 0.6, len(i)) for name in SCORES}
    scores["technical.defects@1"] = rng.poisson(0.2, len(i)).astype(float)
    settings = pd.DataFrame([recipe.model_dump(mode="json") for recipe in made])
    settings["loras"] = "[]"
    settings = settings.add_prefix("recipe.").iloc[i].reset_index(drop=True)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    frame = pd.DataFrame(
        {
            "study": NAME,
            "trial": i - 1,
            "rung": 0,
            "recipe_id": np.array([recipe.recipe_id for recipe in made])[i],
            "image_key": keys,
            "prompt_id": np.array([short_hash(item["text"], 8) for item in items])[prompt],
            "prompt": np.array([item["text"] for item in items])[prompt],
            "tags": np.array([item["tags"][0] for item in items])[prompt],
            "split": "search",
            "block": b,
            "seed": seed,
            "status": np.where(rng.random(len(i)) < 0.001, "failed", "ok"),
            "reason": "",
            "seconds": rng.gamma(9, 0.2, len(i)),
            "model_calls": settings["recipe.steps"],
            "png": [f"images/{key[:2]}/{key}.png" for key in keys],
            "started": start,
            "finished": start,
            **scores,
        }
    )
    lost = frame["status"] == "failed"
    frame.loc[lost, list(SCORES)] = np.nan
    return pd.concat([frame.iloc[:, :4], settings, frame.iloc[:, 4:]], axis=1), made


def pictures(place: Path) -> list[Path]:
    """The distinct ones: soft shapes, about as hard to squeeze as a photo."""
    rng = np.random.default_rng(3)
    place.mkdir(parents=True)
    out = []
    for k in range(PICTURES):
        small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((PIXELS, PIXELS), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 3, (PIXELS, PIXELS, 1))
        data = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(data).save(file, "PNG")
        out.append(place / f"{k}.png")
        out[-1].write_bytes(file.getvalue())
    return out


def make(home: Path, recipes: int) -> Path:
    """The home with its study; returns the study's folder."""
    folder = StudyFolder(home / "studies" / NAME)
    study = resolve(config(recipes), Path(), "benchmark")
    frame, made = table(recipes, study)
    distinct = pictures(home / "distinct")
    for head in sorted({key[:2] for key in frame["image_key"]}):
        (folder.images / head).mkdir(parents=True)
    for k, path in enumerate(frame["png"]):
        os.link(distinct[k % PICTURES], folder.path / path)
    frame.to_parquet(folder.table, compression="zstd", index=False)
    means = frame.groupby("recipe_id")[OBJECTIVE].mean()
    best = next(recipe for recipe in made if recipe.recipe_id == means.idxmax())
    result = {
        "name": NAME,
        "ending": "finished",
        "objective": OBJECTIVE,
        "higher_is_better": True,
        "best": best.model_dump(mode="json", exclude_defaults=True),
        "best_id": best.recipe_id,
        "best_value": float(means.max()),
        "baseline": made[0].model_dump(mode="json", exclude_defaults=True),
        "baseline_id": made[0].recipe_id,
        "baseline_value": float(means[made[0].recipe_id]),
        "recipes": recipes,
        "images": len(frame),
        "images_now": len(frame),
        "images_failed": int((frame["status"] != "ok").sum()),
        "rows_failed": 0,
        "images_full_grid": len(frame),
        "seconds": float(frame["seconds"].sum()),
        "peak_rss_mb": 0.0,
    }
    folder.write(
        created=datetime.now(UTC).isoformat(),
        config=study.resolved(),
        state="finished",
        why="",
        parts="named",
        source=None,
        versions={},
        higher_is_better=SCORES,
        result=result,
    )
    return folder.path


def main() -> None:
    """Build and say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place", type=Path)
    parser.add_argument("--recipes", type=int, choices=list(SHAPES), default=2000)
    given = parser.parse_args()
    began = time.perf_counter()
    folder = make(given.place, given.recipes)
    images = given.recipes * PROMPTS * SEEDS
    print(f"{images:,} images in {folder}: {time.perf_counter() - began:.1f} s")


if __name__ == "__main__":
    main()
