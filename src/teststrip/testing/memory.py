"""A tracker that keeps everything in memory, to see what a study records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from teststrip.recipe import Recipe


@dataclass
class StudyRecord:
    """What was recorded of one study; `recipes` by recipe id."""

    config: Mapping[str, Any]
    recipes: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    status: str = "running"


class MemoryTracker:
    """See `protocols.Tracker`."""

    def __init__(self) -> None:
        self.studies: dict[str, StudyRecord] = {}

    def start_study(self, name: str, config: Mapping[str, Any]) -> str:
        """Open a study's record, or find it again."""
        self.studies.setdefault(name, StudyRecord(config)).status = "running"
        return name

    def log_recipe(  # noqa: PLR0917 - the protocol
        self,
        name: str,
        recipe: Recipe,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        images: Mapping[str, bytes],
        status: str,
    ) -> str:
        """Record a recipe; the same one again replaces its record."""
        self.studies[name].recipes[recipe.recipe_id] = {
            "params": dict(params),
            "metrics": dict(metrics),
            "images": dict(images),
            "status": status,
        }
        return f"{name}/{recipe.recipe_id}"

    def finish_study(
        self,
        name: str,
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
        status: str,
    ) -> None:
        """Record the summary."""
        record = self.studies[name]
        record.metrics, record.files, record.status = dict(metrics), dict(files), status
