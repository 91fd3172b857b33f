"""Simulated studies with known truth: variances of recipe, prompt, seed, interaction, residual."""

import numpy as np
import pandas as pd

VARIANCES = {"recipe": 0.25, "prompt": 1.0, "seed": 0.6, "interaction": 0.25, "residual": 0.5}


def scores(rng, recipes, prompts, seeds, effect=None, variances=VARIANCES):
    """(values [R, B], prompt of each block [B], true recipe effects [R]); seeds outermost."""
    sd = {name: value**0.5 for name, value in variances.items()}
    truth = rng.normal(0, sd["recipe"], recipes) if effect is None else np.asarray(effect, float)
    prompt_of = np.tile(np.arange(prompts), seeds)
    blocks = len(prompt_of)
    values = (
        truth[:, None]
        + rng.normal(0, sd["prompt"], prompts)[prompt_of]
        + rng.normal(0, sd["seed"], blocks)
        + rng.normal(0, sd["interaction"], (recipes, prompts))[:, prompt_of]
        + rng.normal(0, sd["residual"], (recipes, blocks))
    )
    return values, prompt_of, truth


def halving(values, prompt_of, start=4, keep=3, baseline=0):
    """A mask [R, B] of what a race 4 -> 8 -> 16 -> ... would have made; the baseline runs on."""
    recipes, blocks = values.shape
    made = np.zeros(values.shape, dtype=bool)
    alive, n = np.arange(recipes), start
    while True:
        n = min(n, blocks)
        made[alive, :n] = made[baseline, :n] = True
        if n == blocks:
            return made
        means = values[alive, :n].mean(axis=1)
        go_on = max(keep, -(-len(alive) // 2))
        alive = alive[np.argsort(-means, kind="stable")[:go_on]]
        n *= 2


def frame(values, prompt_of, made=None, column="clip@1", grid=None):
    """The table of images of such a world."""
    made = np.ones(values.shape, dtype=bool) if made is None else made
    rows = []
    for i, b in zip(*np.nonzero(made), strict=True):
        settings = (
            {"recipe.steps": int(i), "recipe.guidance": float(i % 4)} if grid is None else grid[i]
        )
        rows.append(
            {
                "recipe_id": f"r{i:03d}",
                "prompt_id": f"p{prompt_of[b]:02d}",
                "seed": int(b // (prompt_of.max() + 1)),
                "block": int(b),
                "seconds": 0.5 + 0.01 * i,
                "png": f"images/r{i:03d}-{b:02d}.png",
                column: values[i, b],
            }
            | settings
        )
    return pd.DataFrame(rows)
