"""What a study says to its tracker, as records that can wait: said later, they say the same."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from teststrip.recipe import Recipe
from teststrip.track.outbox.box import Box, Data, Entry

if TYPE_CHECKING:
    from teststrip.track.mlflow import MlflowTracker

START, EVIDENCE, FINISH, RECIPE = "start", "evidence", "finish", "recipe-"
# A study is opened before its recipes and closed after them, whatever came when.
_RANKS = {START: 0, EVIDENCE: 2, FINISH: 3}


def put(box: Box, slot: str, data: Data, files: Mapping[str, bytes] | None = None) -> None:
    """Keep a record; it joins the one that waits for the same recipe, evidence or end."""
    box.put(slot, data, files, rank=_RANKS.get(slot, 1), merge=_joined)


def recipe_slot(recipe: Recipe) -> str:
    """Where a recipe's record waits."""
    return f"{RECIPE}{recipe.recipe_id}"


def tell(tracker: "MlflowTracker", name: str, entry: Entry) -> str:
    """Say a record to MLflow; a run id, empty where there is none. Raises StorageError."""
    data = entry.data
    if entry.slot == START:
        return tracker.start_study(name, data["config"])
    if entry.slot == EVIDENCE:
        tracker.log_evidence(name, data["metrics"])
        return ""
    if entry.slot == FINISH:
        tracker.finish_study(name, data["metrics"], entry.files(), data["status"])
        return ""
    recipe = Recipe.model_validate(data["recipe"])
    return tracker.log_recipe(
        name, recipe, data["params"], data["metrics"], entry.files(), data["status"]
    )


def _joined(old: Data, new: Data) -> Data:
    """The later word counts; numbers and settings that only the earlier one had stay."""
    out = dict(new)
    for key in ("params", "metrics"):
        if isinstance(old.get(key), Mapping):
            out[key] = _both(old[key], new.get(key) or {})
    return out


def _both(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence is a mapping of recipes to mappings; those join, too."""
    out = dict(old)
    for key, value in new.items():
        before = out.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            out[key] = {**before, **value}
        else:
            out[key] = value
    return out
