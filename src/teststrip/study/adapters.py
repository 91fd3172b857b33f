"""A swept adapter: `lora` (which file) and `lora_scale` (how strongly) as searched parameters.

They are two axes of one recipe field, `loras`. Searched as lists of whole `loras` they would be
one parameter without order; apart, a report can say what the file does and what the scale does.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from pydantic import ValidationError

from teststrip.config import faults_of
from teststrip.recipe import Lora, Recipe
from teststrip.study.space import Param

FILE, SCALE = "lora", "lora_scale"
SWEPT = (FILE, SCALE)
ROLES = ("weights", "adapter_model")  # of a file's name; the folder says whose they are


def with_adapter(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`lora` and `lora_scale` become `loras`; a fixed `loras` keeps the other one of the two.

    A `lora` that is null is no adapter. Fields without either are given back as they are.
    """
    out = {name: value for name, value in fields.items() if name not in SWEPT}
    if len(out) == len(fields):
        return out
    fixed = [dict(lora) for lora in out.get("loras") or ()]
    first: dict[str, Any] = fixed[0] if fixed else {}
    if FILE in fields:
        first = {"scale": 1.0} | first | {"path": fields[FILE]}
    if SCALE in fields:
        first = first | {"scale": fields[SCALE]}
    out["loras"] = [first, *fixed[1:]] if first.get("path") is not None else fixed[1:]
    return out


def faults(space: Mapping[str, Param], recipe: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the swept adapter of a study."""
    for name in SWEPT:
        if name not in space:
            continue
        if "loras" in space:
            yield f"space.{name}: `loras` is searched, too; keep one of the two"
        if name in recipe:
            yield f"recipe.{name}: belongs under `space`; a fixed adapter is written as `loras`"
        param = space[name]
        for value in param.choice if param.choice is not None else param.ends:
            yield from (f"space.{name}: {line}" for line in _value_faults(name, value))
    if FILE in space and space[FILE].choice is None:
        yield "space.lora: list the files"
    if FILE in space and recipe.get("loras"):
        yield "space.lora: `loras` is fixed under `recipe`; keep one of the two"
    if SCALE in space and FILE not in space and not recipe.get("loras"):
        yield "space.lora_scale: of which adapter? Give `lora` here or `loras` under `recipe`"


def names(files: Sequence[str]) -> dict[str, str]:
    """file -> what a reader wants to see: the part of its path that tells it from the others.

    `runs/ink/checkpoints/000400/pytorch_lora_weights.safetensors` beside that of step 800 is
    `000400`; a file alone is its own name, or its folder's where all adapters have that name.
    """
    parts = {file: _parts(file) for file in files}
    if len(parts) == 1:
        return {file: found[-1] for file, found in parts.items()}
    same = 0
    while len({found[same : same + 1] for found in parts.values()}) == 1:
        same += 1
    return {file: "/".join(found[same:]) or found[-1] for file, found in parts.items()}


def columns_of(recipe: Recipe, names_of: Mapping[str, str]) -> dict[str, str | float | None]:
    """`lora` and `lora_scale` of a recipe as a table shows them; None without an adapter."""
    first = recipe.loras[0] if recipe.loras else None
    if first is None:
        return {FILE: None, SCALE: None}
    return {FILE: names_of.get(first.path, first.path), SCALE: first.scale}


def _parts(file: str) -> tuple[str, ...]:
    path = PurePath(file)
    stem = path.name.removesuffix(".safetensors")
    is_role = len(path.parts) > 1 and stem.endswith(ROLES)
    return path.parts[:-1] if is_role else (*path.parts[:-1], stem)


def _value_faults(name: str, value: Any) -> list[str]:
    if name == FILE and value is None:
        return []
    tried = {"path": value} if name == FILE else {"path": "x", "scale": value}
    try:
        Lora.model_validate(tried)
    except ValidationError as exc:
        return faults_of(exc)
    return []
