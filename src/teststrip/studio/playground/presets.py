"""Where a form starts: the model's own defaults, a study's best recipe, a picture, the registry."""

import hashlib
import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.config import parse
from teststrip.errors import ConfigError, StudyError, TeststripError
from teststrip.recipe import Recipe

if TYPE_CHECKING:
    from teststrip.studio.index import Index
    from teststrip.studio.pictures import Pictures

MOST, MOST_MODELS = 12, 50
FIELD = "recipe."
SWEPT = ("recipe.lora", "recipe.lora_scale")  # two views of `loras`, no fields of a recipe


@dataclass(frozen=True)
class Preset:
    """A recipe to start from, and where it comes from in words."""

    recipe: Recipe
    says: str
    prompt: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class Offer:
    """A study whose best recipe can be taken. `is_confirmed`: on prompts its search never saw."""

    study: str
    recipe_id: str
    is_confirmed: bool


@dataclass(frozen=True)
class Champion:
    """A model's champion in the registry. `is_forced`: the evidence did not support it."""

    name: str
    version: str
    study: str
    is_forced: bool


def default(model: str = "builtin") -> Recipe:
    """A model's own recipe, where it says one; else a recipe's defaults."""
    told: dict[str, Any] = {}
    shipped = resources.files("teststrip") / "models" / model if model.isidentifier() else None
    place = shipped if shipped is not None and shipped.is_dir() else Path(model)
    try:
        told = json.loads((place / "teststrip.json").read_text(encoding="utf-8"))["default_recipe"]
        return parse(Recipe, {"model": model} | dict(told), "default recipe")
    except (OSError, ValueError, KeyError, TypeError):
        return Recipe(model=model)


def offers(home: Path, index: "Index") -> list[Offer]:
    """Confirmed recipes first, then leaders of searches."""
    found = []
    for entry in index.entries():
        if entry.kind != "study":
            continue
        try:
            record = json.loads((home / "studies" / entry.name / "study.json").read_bytes())
            evidence = (record.get("confirmed") or {}).get("evidence") or {}
            champion = evidence.get("champion")
            best = (record.get("result") or {}).get("best_id")
        except (OSError, ValueError, AttributeError):
            continue
        if champion or best:
            found.append(Offer(entry.name, str(champion or best), bool(champion)))
    return sorted(found, key=lambda offer: not offer.is_confirmed)[:MOST]


def of_recipe(index: "Index", study: str, recipe_id: str) -> Preset:
    """A study's recipe by its id. Raises StudyError where it has none or is not whole."""
    return _of_row(index, study, "recipe_id", recipe_id, f"recipe {recipe_id} of study {study}")


def of_image(index: "Index", pictures: "Pictures", study: str, key: str) -> Preset:
    """The settings of a picture: its own text, else its row. Raises StudyError."""
    from teststrip import png

    row = _of_row(index, study, "image_key", key, f"image {key[:8]} of study {study}")
    try:
        held = png.read(pictures.original(study, key)).request
    except TeststripError:  # a picture of another tool, or one that has vanished
        return row
    return Preset(held.recipe, row.says, held.block.prompt, held.block.seed)


def _of_row(index: "Index", study: str, column: str, value: str, what: str) -> Preset:
    rows = index.query(
        f'SELECT * FROM {index.table(study)} WHERE "{column}" = ? ORDER BY image_id LIMIT 1',  # noqa: S608
        [value],
    )
    if not rows:
        raise StudyError(f"there is no {what}")
    row = rows[0]
    fields = {
        name.removeprefix(FIELD): value
        for name, value in row.items()
        if name.startswith(FIELD) and value is not None and name not in SWEPT
    }
    try:
        if isinstance(fields.get("loras"), str):
            fields["loras"] = json.loads(fields["loras"])
        recipe = parse(Recipe, fields, what)
    except (ConfigError, ValueError) as exc:
        raise StudyError(f"the settings of {what} are not whole: {exc}") from exc
    seed = row.get("seed")
    good = isinstance(seed, int) and 0 <= seed < 2**32
    return Preset(recipe, what, str(row.get("prompt") or ""), seed if good else None)


def has_registry(home: Path) -> bool:
    """Is there a tracking store that may hold champions?"""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (home / "mlflow.db").exists()


def champions(home: Path) -> list[Champion]:
    """Every model of ours with alias `champion`; its files stay where they are.

    Slow: about a second. Raises StorageError.
    """
    from teststrip.track.connection import Connection
    from teststrip.track.registry import ALIAS

    connection = Connection(home)
    with connection.border("list the registered models"):
        client = connection.client
        models = client.search_registered_models(max_results=MOST_MODELS)
        named = [str(m.name) for m in models if ALIAS in (m.aliases or {})]
        versions = [client.get_model_version_by_alias(name, ALIAS) for name in named]
    return [
        Champion(str(v.name), str(v.version), str(v.tags["study"]), v.tags.get("forced") == "true")
        for v in versions
        if "recipe_id" in v.tags and "study" in v.tags
    ][:MOST]


def of_champion(home: Path, name: str) -> Preset:
    """The recipe of a model's champion, with LoRA files that this machine has.

    Its files, LoRAs included, are fetched and kept in the studio's folder. Raises StorageError
    where the registry has none of that name, or a LoRA is not to be had.
    """
    from teststrip.track.connection import Connection
    from teststrip.track.registry import Registry

    folder = home / "studio" / "champions" / hashlib.sha256(name.encode()).hexdigest()[:16]
    found = Registry(Connection(home)).champion(name, folder)
    example = found.model.get("example") or {}
    tags = found.version.tags
    says = f"the champion of {name}, version {found.version.number}, from study {tags.get('study')}"
    if tags.get("forced") == "true":
        says += f" (promoted by force: {tags.get('why', 'no reason given')})"
    seed = example.get("seed")
    return Preset(
        found.recipe_here,
        says,
        str(example.get("prompt") or ""),
        seed if isinstance(seed, int) and 0 <= seed < 2**32 else None,
    )
