"""Flags of an image -> fields of a recipe and blocks; all their faults are shown at once."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from teststrip.config import faults_of, parse
from teststrip.errors import ConfigError
from teststrip.noise import NOISE_NAMES, split_name
from teststrip.recipe import Block, Recipe

MAX_SEEDS = 10_000
_FLAG = {
    "negative_prompt": "--negative",
    "prompt_template": "--template",
    "loras": "--lora",
    "prompt": "PROMPT",
}


def lora(text: str) -> dict[str, Any]:
    """`ink.safetensors:0.8` -> path and scale; the scale is 1 where none is written."""
    path, sep, scale = text.rpartition(":")
    if sep and re.fullmatch(r"[-+]?\d*\.?\d+", scale):
        return {"path": path, "scale": float(scale)}
    return {"path": text}


def seeds(texts: Sequence[str], count: int | None) -> list[int]:
    """`["7", "1-4"]` -> 7, 1, 2, 3, 4; with `count` alone or one seed, that many from it on.

    Raises ValueError naming what is accepted.
    """
    found: list[int] = []
    for text in texts or ["0"]:
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", text.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise ValueError(f"--seed {text}: write a number such as 7 or a range such as 1-4")
        if len(found) + last - first >= MAX_SEEDS:
            raise ValueError(f"--seed {text}: more than {MAX_SEEDS} seeds")
        found.extend(range(first, last + 1))
    if count is None:
        return found
    if len(found) > 1 or not 1 <= count <= MAX_SEEDS:
        raise ValueError(f"--n counts seeds from one --seed on, 1 to {MAX_SEEDS}, got {count}")
    return list(range(found[0], found[0] + count))


def blocks(prompts: Iterable[str], seed_texts: Sequence[str], count: int | None) -> list[Block]:
    """Every prompt with every seed. Raises ConfigError with all faults."""
    faults: list[str] = []
    numbers = [0]
    try:
        numbers = seeds(seed_texts, count)
    except ValueError as exc:
        faults.append(str(exc))
    found: list[Block] = []
    for prompt in prompts:
        for number in numbers:
            wanted = {"prompt": prompt, "seed": number}
            if bad := field_faults(Block, wanted):
                faults.extend(line for line in bad if line not in faults)
            else:
                found.append(Block.model_validate(wanted))
    if faults:
        raise ConfigError("flags cannot be used", faults)
    return found


def field_faults(kind: type[BaseModel], fields: Mapping[str, Any]) -> list[str]:
    """Faults of single fields, under their flag's name.

    Faults of combinations (eta without ddim) are left to `recipe`: they depend on the defaults of
    the model, which is not open yet.
    """
    try:
        kind.model_validate(dict(fields))
    except ValidationError as exc:
        return [_named(line) for line in faults_of(exc) if not line.startswith("(whole)")]
    return []


def together(*checks: Callable[[], Any]) -> list[Any]:
    """What the checks return; if some raise ConfigError, one error with all their faults."""
    results: list[Any] = []
    faults: list[str] = []
    for check in checks:
        try:
            results.append(check())
        except ConfigError as exc:
            faults.extend(exc.faults or [exc.what])
    if faults:
        raise ConfigError("flags cannot be used", faults)
    return results


def check_recipe(fields: Mapping[str, Any]) -> None:
    """Raise ConfigError for fields that no model's defaults could save."""
    if faults := field_faults(Recipe, fields):
        raise ConfigError("flags cannot be used", faults)


def recipe(defaults: Recipe, fields: Mapping[str, Any]) -> Recipe:
    """The model's default recipe with the given fields changed.

    A default that the changed scheduler or guidance has no use for gives way; a flag that has no
    use is refused. Raises ConfigError with all faults.
    """
    merged = defaults.model_dump() | dict(fields)
    known = NOISE_NAMES[split_name(merged["scheduler"])[0]]
    idle = {
        "zero_snr": not known.zero_snr,
        "spacing": not known.spacing,
        "eta": merged["scheduler"] not in ("ddim", "tcd"),
        "rescale": str(merged["guidance"]) == "none" or float(merged["guidance"]) <= 1,
    }
    for name, has_no_use in idle.items():
        if has_no_use and name not in fields:
            merged[name] = Recipe.model_fields[name].default
    return parse(Recipe, merged, "flags cannot be used")


def read_file(path: Path) -> bytes:
    """The bytes of a picture or text file. Raises ConfigError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def _named(line: str) -> str:
    where, sep, rest = line.partition(": ")
    field = where.partition(".")[0]
    return f"{_FLAG.get(field, '--' + field.replace('_', '-'))}{sep}{rest}"
