"""What a study says while it runs, and what it ends with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from teststrip.recipe import Recipe

Ending = Literal["finished", "budget"]
EventKind = Literal["image", "rung", "trial", "end"]


@dataclass(frozen=True)
class Event:
    """One step of a running study, for a progress bar.

    `images` of `images_expected` are there, `images_saved` is what the recipes that were stopped
    would have cost more. `best` is the leading recipe's id, `best_value` its
    mean. `eta_s`: seconds left at the present rate.
    """

    kind: EventKind
    images: int
    images_expected: int
    images_saved: int
    best: str = ""
    best_value: float | None = None
    eta_s: float | None = None


@dataclass(frozen=True)
class Confirmation:
    """The leaders and the baseline on prompts and seeds that the search never saw.

    `means`: recipe id -> mean of prompt means of the primary score; `gains`: the paired
    difference to the baseline. Their uncertainty is for `teststrip.evidence`, from the table's
    rows with `split` held_out.
    """

    name: str
    folder: Path
    table: Path
    objective: str
    recipes: tuple[str, ...]
    baseline: str
    seeds: int
    prompts: int
    means: dict[str, float]
    gains: dict[str, float]
    images: int
    images_now: int

    def as_dict(self) -> dict[str, Any]:
        """For --json and study.json."""
        return vars(self) | {
            "folder": str(self.folder),
            "table": str(self.table),
            "recipes": list(self.recipes),
        }


@dataclass(frozen=True)
class StudyResult:
    """The end of a study. `best` leads on the images that chose it: confirm it on fresh ones.

    `images` exist, `images_now` of them were made in this process; `images_full_grid` is what
    every recipe on every block would have cost. `seconds`: the images' own, added up.
    """

    name: str
    folder: Path
    table: Path
    ending: Ending
    objective: str
    higher_is_better: bool
    best: Recipe
    best_value: float | None
    baseline: Recipe
    baseline_value: float | None
    recipes: int
    images: int
    images_now: int
    images_failed: int
    images_full_grid: int
    seconds: float
    peak_rss_mb: float

    @property
    def images_saved(self) -> int:
        """Images that racing and budget spared."""
        return self.images_full_grid - self.images

    def as_dict(self) -> dict[str, Any]:
        """For --json and study.json."""
        fields = {k: v for k, v in vars(self).items() if not isinstance(v, Path | Recipe)}
        return fields | {
            "folder": str(self.folder),
            "table": str(self.table),
            "images_saved": self.images_saved,
            "best": self.best.model_dump(mode="json", exclude_defaults=True),
            "best_id": self.best.recipe_id,
            "baseline": self.baseline.model_dump(mode="json", exclude_defaults=True),
            "baseline_id": self.baseline.recipe_id,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], folder: Path) -> "StudyResult":
        """What `as_dict` gave, for a study that was finished before."""
        fields = {k: v for k, v in data.items() if k in cls.__dataclass_fields__}
        return cls(
            **fields
            | {
                "folder": folder,
                "table": folder / "images.parquet",
                "best": Recipe.model_validate(data["best"]),
                "baseline": Recipe.model_validate(data["baseline"]),
                "images_now": 0,
            }
        )
