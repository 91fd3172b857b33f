"""What was typed -> one recipe, a prompt and seeds; every fault by its field, all at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from teststrip.recipe import Recipe

MOST_SEEDS = 16
MOST_STEPS = 150
LARGEST_SIDE = 2048
LONGEST_PROMPT = 2000
LONGEST_FIELD = 8000
TEXTS = ("model", "revision", "scheduler", "spacing", "dtype", "negative_prompt", "prompt_template")
NUMBERS = ("steps", "guidance", "rescale", "eta", "width", "height", "clip_skip")
NAMES = ("prompt", "seeds", *TEXTS, *NUMBERS, "zero_snr", "loras")
LABELS = {"guidance": "Guidance", "eta": "Eta", "zero_snr": "Zero SNR", "loras": "LoRAs"}


@dataclass(frozen=True)
class Wish:
    """What is to be made."""

    recipe: Recipe
    prompt: str
    seeds: tuple[int, ...]


@dataclass
class Read:
    """`values`: as typed, to be shown again. `faults`: field -> what is wrong. `wish`: if none."""

    values: dict[str, str]
    faults: dict[str, str] = field(default_factory=dict)
    wish: Wish | None = None


def read(typed: Mapping[str, Any]) -> Read:
    """Check a form. Never raises."""
    values = {name: str(typed.get(name, "") or "")[:LONGEST_FIELD] for name in NAMES}
    out = Read(values)
    seeds = _seeds(values["seeds"], out.faults)
    prompt = values["prompt"].strip()
    if len(prompt) > LONGEST_PROMPT:
        out.faults["prompt"] = f"{len(prompt)} characters; at most {LONGEST_PROMPT} are accepted"
    elif not prompt:
        out.faults["prompt"] = "say what is to be seen"
    recipe = _recipe(_fields(values, out.faults), out.faults)
    if recipe is not None:
        _bounds(recipe, out.faults)
    if recipe is not None and not out.faults:
        out.wish = Wish(recipe, prompt, seeds)
    out.faults = {name: out.faults[name] for name in NAMES if name in out.faults}
    return out


def values_of(recipe: Recipe, prompt: str = "", seeds: str = "0-3") -> dict[str, str]:
    """The form's texts for a recipe."""
    fields = recipe.model_dump()
    out = {name: _text(fields[name]) for name in (*TEXTS, *NUMBERS)}
    out["zero_snr"] = "on" if recipe.zero_snr else ""
    out["loras"] = "\n".join(f"{lora.path}:{_text(lora.scale)}" for lora in recipe.loras)
    return out | {"prompt": prompt, "seeds": seeds}


def seeds_text(seeds: Sequence[int]) -> str:
    """`0, 1, 2, 7` -> `0-2, 7`, as the form reads it."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)


def label(name: str) -> str:
    """A field's name as people read it."""
    return LABELS.get(name, name.replace("_", " ").capitalize())


def _fields(values: Mapping[str, str], faults: dict[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in (*TEXTS, *NUMBERS):
        text = values[name].strip()
        if text:
            fields[name] = values[name] if name == "negative_prompt" else text
    if values["zero_snr"]:
        fields["zero_snr"] = True
    loras = []
    for line in filter(None, map(str.strip, values["loras"].splitlines())):
        path, _, scale = line.rpartition(":")
        is_scaled = bool(path and re.fullmatch(r"[-+]?\d*\.?\d+", scale))
        loras.append({"path": path, "scale": float(scale)} if is_scaled else {"path": line})
    fields["loras"] = loras
    return fields


def _recipe(fields: Mapping[str, Any], faults: dict[str, str]) -> Recipe | None:
    try:
        return Recipe.model_validate(dict(fields))
    except ValidationError as exc:
        for fault in exc.errors(include_url=False):
            name = str(fault["loc"][0]) if fault["loc"] else "model"
            said = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
            faults.setdefault(name, said)
        return None


def _bounds(recipe: Recipe, faults: dict[str, str]) -> None:
    """What a page may ask for; a study or the command line may ask for more."""
    if recipe.steps > MOST_STEPS:
        faults.setdefault("steps", f"at most {MOST_STEPS} here, got {recipe.steps}")
    for name in ("width", "height"):
        side = getattr(recipe, name)
        if side is not None and side > LARGEST_SIDE:
            faults.setdefault(name, f"at most {LARGEST_SIDE} px here, got {side}")


def _seeds(text: str, faults: dict[str, str]) -> tuple[int, ...]:
    """`7, 1-4` -> 7, 1, 2, 3, 4."""
    found: dict[int, None] = {}
    for part in filter(None, re.split(r"[,\s]+", text.strip())):
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or last >= 2**32:
            faults["seeds"] = f"write numbers below 2^32 such as 7, or 1-4; got {part[:40]!r}"
            return ()
        if len(found) + last - first >= MOST_SEEDS:
            faults["seeds"] = f"at most {MOST_SEEDS} seeds at once"
            return ()
        found |= dict.fromkeys(range(first, last + 1))
    if not found:
        faults["seeds"] = "give at least one, such as 0-3"
    return tuple(found)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


__all__ = ["NAMES", "Read", "Wish", "label", "read", "seeds_text", "values_of"]
