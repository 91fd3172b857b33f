"""Simulated worlds and small tables for the tests of this room."""

import importlib.util
from pathlib import Path

import pytest

from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.table import checked


@pytest.fixture(scope="session")
def worlds():
    """The module `worlds.py` beside this file (pytest's importlib mode has no siblings)."""
    spec = importlib.util.spec_from_file_location("worlds", Path(__file__).with_name("worlds.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def facts():
    """Facts of a simulated study; keyword arguments change them."""

    def make(**changes):
        return StudyFacts(**({"name": "sim", "objective": "clip@1", "baseline": "r000"} | changes))

    return make


@pytest.fixture(scope="session")
def study(worlds):
    """(table, truth) of a simulated study that was raced; settings: steps and guidance."""
    import numpy as np

    def make(seed=0, recipes=12, prompts=8, seeds=4, race=True, effect=None, **frame):
        rng = np.random.default_rng(seed)
        values, prompt_of, truth = worlds.scores(rng, recipes, prompts, seeds, effect)
        made = worlds.halving(values, prompt_of) if race else None
        return checked(worlds.frame(values, prompt_of, made, **frame)), truth

    return make


PROMPTS = (
    "a red apple",
    "<script>alert('x')</script> & <b>bold</b>",
    "ein grüner Apfel, 緑のりんご",
    "a very long prompt " * 12,
    "a cup",
    "an owl",
    "a house",
    "a sun",
)


@pytest.fixture(scope="session")
def shown(worlds):
    """(table, pictures by path, baseline id) of a raced study of 13 real recipes with pictures."""
    import json

    import numpy as np
    import pandas as pd

    from teststrip import png
    from teststrip.recipe import Block, Recipe, Request

    rng = np.random.default_rng(4)
    recipes = [Recipe()] + [
        Recipe(scheduler=name, steps=steps, guidance=guidance)
        for name in ("euler_a", "dpmpp_2m")
        for steps in (8, 15)
        for guidance in (1, 3, 5)
    ]
    effect = [0.0] + [0.3 * (r.steps == 15) + 1.5 * (r.guidance == 3) for r in recipes[1:]]
    values, prompt_of, _ = worlds.scores(rng, len(recipes), 8, 4, effect)
    values = 0.25 + 0.02 * values
    pictures, rows = {}, []
    for i, b in zip(*np.nonzero(worlds.halving(values, prompt_of)), strict=True):
        recipe, block = recipes[i], Block(prompt=PROMPTS[prompt_of[b]], seed=int(b // 8))
        key = f"{recipe.recipe_id}{b:02d}"
        pixels = np.full((16, 16, 3), (20 * i % 255, 8 * b, 120), np.uint8)
        pictures[f"images/{key}.png"] = png.write(
            pixels, Request(recipe=recipe, block=block), {"image_key": key}
        )
        fields = recipe.model_dump(mode="json")
        fields["loras"] = json.dumps(fields["loras"])
        rows.append(
            {f"recipe.{name}": value for name, value in fields.items()}
            | {
                "recipe_id": recipe.recipe_id,
                "image_key": key,
                "prompt_id": block.prompt_id,
                "prompt": block.prompt,
                "split": "search",
                "block": int(b),
                "seed": block.seed,
                "status": "ok",
                "reason": "",
                "seconds": 0.01 * recipe.model_calls * (2 if recipe.guided else 1),
                "png": f"images/{key}.png",
                "clip@1": values[i, b],
            }
        )
    return checked(pd.DataFrame(rows)), pictures, recipes[0].recipe_id


@pytest.fixture(scope="session")
def known(shown):
    """(analysis, read_png) of the study of `shown`."""
    from teststrip.evidence.analysis import analyse

    table, pictures, baseline = shown
    facts = StudyFacts(
        name="a <i>study</i>",
        objective="clip@1",
        baseline=baseline,
        varied=("scheduler", "steps", "guidance"),
        threshold=0.25,
        seconds=151.0,
        peak_rss_mb=1900.0,
        command="teststrip study run study.yaml",
        design="grid",
    )
    return analyse(table, facts), pictures.__getitem__


@pytest.fixture(scope="session")
def full(known):
    """An analysis with every conclusion there can be (see `analyses.py`)."""
    path = Path(__file__).with_name("analyses.py")
    spec = importlib.util.spec_from_file_location("analyses", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.everything(known[0])
