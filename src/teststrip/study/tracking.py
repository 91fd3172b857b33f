"""Telling a tracker (MLflow, say) what a study did: each recipe at the end of its turn."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from teststrip.protocols import Tracker
from teststrip.recipe import Recipe
from teststrip.study.goals import SECONDS, Goal
from teststrip.study.race import clustered_mean
from teststrip.study.result import StudyResult

if TYPE_CHECKING:
    from teststrip.study.runner import Runner


def log_recipe(tracker: Tracker, runner: "Runner", recipe: Recipe, status: str) -> None:
    """Record a recipe: what was varied, the means of its scores and its pictures."""
    config = runner.config
    fields = recipe.model_dump(mode="json")
    origin = runner.origins[recipe.recipe_id]
    params = {n: fields[n] if n in fields else origin.point.get(n) for n in config.space}
    blocks = config.blocks[: runner.reached(recipe.recipe_id)]
    metrics: dict[str, float] = {"blocks": len(blocks), "trial": origin.trial}
    for column in [*runner.cells.columns, SECONDS]:
        values = np.array(runner.cells.values(recipe.recipe_id, blocks, Goal(column, True)))
        good = np.isfinite(values)
        if good.any():
            names = np.array([b.block.prompt_id for b in blocks])[good]
            metrics[column] = float(clustered_mean(values[good], names))
    for goal in runner.goals:
        value = runner.value(recipe.recipe_id, goal)
        if value is not None:
            metrics[f"{goal.column}.paired"] = value
    images: dict[str, bytes] = {}
    for block in blocks:
        cell = runner.cells.registered.get((recipe.recipe_id, block.split, block.index))
        if cell is not None and runner.ledger.is_made(cell.key):
            images[f"{block.index:03d}-{cell.key}.png"] = runner.ledger.png(cell.key)
    tracker.log_recipe(config.name, recipe, params, metrics, images, status)


def finish(tracker: Tracker, result: StudyResult, files: Mapping[str, bytes]) -> None:
    """Record the study's summary and its files."""
    numbers = {
        "images": result.images,
        "images_failed": result.images_failed,
        "images_full_grid": result.images_full_grid,
        "recipes": result.recipes,
        "seconds": result.seconds,
        "best": math.nan if result.best_value is None else result.best_value,
        "baseline": math.nan if result.baseline_value is None else result.baseline_value,
    }
    metrics = {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
    tracker.finish_study(result.name, metrics, files, result.ending)
