"""What a study says while it runs, and what it ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
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
class Asked:
    """Every confirmation that a study ever had: what was run may not be forgotten afterwards.

    `seeds`: recipe id -> its seeds for each held-out prompt, the most that were ever asked for.
    `rounds`: one entry for each confirmation that asked for something new.
    """

    seeds: Mapping[str, int] = field(default_factory=dict)
    rounds: tuple[Mapping[str, Any], ...] = ()

    @property
    def most(self) -> int:
        """Seeds for each prompt that the baseline needs, to be comparable with all."""
        return max(self.seeds.values(), default=1)

    def with_round(self, ids: Sequence[str], seeds: int) -> "Asked":
        """One more confirmation; the same again is none."""
        wanted = dict(self.seeds) | {i: max(seeds, self.seeds.get(i, 0)) for i in ids}
        if wanted == self.seeds:
            return self
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"when": now, "recipes": list(ids), "seeds": seeds}
        return Asked(wanted, (*self.rounds, entry))

    def as_dict(self) -> dict[str, Any]:
        """For study.json."""
        return {"seeds": dict(self.seeds), "rounds": [dict(r) for r in self.rounds]}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Asked":
        """What study.json says of it, also where an older version wrote it."""
        if asked := record.get("confirm_asked"):
            return cls(dict(asked["seeds"]), tuple(asked["rounds"]))
        if done := record.get("confirmed"):
            entry = {"recipes": list(done["recipes"]), "seeds": done["seeds"]}
            return cls(dict.fromkeys(done["recipes"], int(done["seeds"])), (entry,))
        return cls()


@dataclass(frozen=True)
class Confirmation:
    """The leaders and the baseline on prompts and seeds that the search never saw.

    `recipes`: the leaders that were asked for now; `asked`: with those of earlier confirmations,
    which stay in. `means`: recipe id -> mean of prompt means of the primary score; `gains`: the
    paired difference to the baseline. Their uncertainty is for `teststrip.evidence`, from the
    table's rows with `split` held_out. `images`: held-out images in the table.
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
    asked: Asked

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {self.images} images ({self.images_now} now) on {self.prompts} held-out "
            f"prompts, {self.seeds} fresh seeds each"
        ]
        for recipe_id in self.asked.seeds:
            gain = self.gains.get(recipe_id)
            against = "" if gain is None else f" ({gain:+.4f} against the baseline)"
            lines.append(f"  {recipe_id:18} {_number(self.means.get(recipe_id))}{against}")
        lines.append(f"  {'baseline':18} {_number(self.means.get(self.baseline))}")
        return "\n".join([*lines, f"  table              {self.table}"])

    def as_dict(self) -> dict[str, Any]:
        """For --json and study.json."""
        return vars(self) | {
            "folder": str(self.folder),
            "table": str(self.table),
            "recipes": list(self.recipes),
            "asked": self.asked.as_dict(),
        }


@dataclass(frozen=True)
class StudyResult:
    """The end of a study. `best` leads on the images that chose it: confirm it on fresh ones.

    `images` exist, `images_now` of them were made in this process, `images_failed` could not be
    made, `rows_failed` of all lack an objective's score; `images_full_grid` is what
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
    rows_failed: int
    images_full_grid: int
    seconds: float
    peak_rss_mb: float

    def __str__(self) -> str:
        best, base = (
            r.model_dump(mode="json", exclude_defaults=True) for r in (self.best, self.baseline)
        )
        fields = " ".join(f"{k}={v}" for k, v in best.items()) or "all defaults"
        if best == base:
            fields += " (the baseline)"
        lines = [
            f"{self.name}: {'the budget is used up' if self.ending == 'budget' else self.ending}",
            f"  leads              {self.best.recipe_id} {fields}",
            f"  {self.objective:18} {_number(self.best_value)} "
            f"(baseline {_number(self.baseline_value)})",
            f"  images             {self.images}, {self.images_now} of them now, "
            f"{self.images_saved} saved of a full grid's {self.images_full_grid}",
        ]
        if self.rows_failed:
            lines.append(
                f"  failed             {self.rows_failed} images or scores; `reason` in the table "
                f"says why: teststrip study resume {self.name} --retry-failed"
            )
        if self.ending == "budget":
            lines.append(
                f"  go on with         teststrip study resume {self.name} --set budget.images=N"
            )
        return "\n".join([*lines, f"  table              {self.table}"])

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


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
