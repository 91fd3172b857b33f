"""Crown recipes in a real MLflow registry, without a study behind them."""

import json
from pathlib import Path
from typing import Any

from teststrip.recipe import Recipe
from teststrip.track.connection import Connection
from teststrip.track.mlflow import MlflowTracker
from teststrip.track.registry import Registry, Version, lora_files


class Crowning:
    """A store under `home` with one run that champions come from."""

    def __init__(self, home: Path) -> None:
        self.run_id = MlflowTracker(home).start_study("demo", {"name": "demo"})
        self._connection = Connection(home)
        self.uri = self._connection.uri

    def crown(self, name: str, recipe: Recipe, **evidence: Any) -> Version:
        """Register a recipe, with its adapters, as the champion of model `name`."""
        listed, copies = lora_files(recipe)
        model = {"model": recipe.model, "revision": None, "fingerprint": "abc", "loras": listed}
        files = {
            "recipe.json": recipe.canonical.encode(),
            "evidence.json": json.dumps({"headline": "Confirmed"} | evidence).encode(),
            "model.json": json.dumps(model).encode(),
        }
        tags = {"study": "demo", "recipe_id": recipe.recipe_id, "confirmed": "true"}
        return Registry(self._connection).register(
            name, self.run_id, recipe.recipe_id, files, copies, tags
        )
