"""What a picture says of itself, in our words where there is one, else in its tool's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from teststrip.recipe import MAX_PROMPT_CHARS, Recipe, short_hash

MOST_PARAMS = 32
LONGEST_VALUE = 200
NO_SETTINGS = "no-settings"
# Book-keeping of the tools: it differs between pictures without deciding what they show.
BOOKS = frozenset(
    {
        *("version", "app_version", "swarm_version", "app_id", "user", "created_by", "date"),
        *("hashes", "lora_hashes", "ti_hashes", "model_hash", "vae_hash", "generation_time"),
        *("size", "images", "image_name", "imageformat", "batchsize", "nopreviews", "donotsave"),
        *("original_prompt", "used_wildcards", "used_embeddings", "wildcardseed", "personalnote"),
        *("aspectratio", "rand_device", "generation_mode", "type", "workflow", "graph"),
        *("starred", "is_intermediate"),
    }
)


@dataclass(frozen=True)
class Found:
    """`fields`: of a recipe, each sound by itself. `params`: other settings, scalars by name.

    `tool`: who wrote it. `seed`: None where unknown or beyond 63 bits.
    """

    tool: str
    prompt: str = ""
    seed: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recipe_id(self) -> str:
        """Equal settings, equal id; a recipe that is ours throughout has its own."""
        if not self.fields and not self.params:
            return NO_SETTINGS
        if not self.params and {"steps", "scheduler", "guidance"} <= set(self.fields):
            return Recipe.model_validate(dict(self.fields)).recipe_id
        return short_hash({"fields": dict(self.fields), "params": dict(self.params)})


def made(
    tool: str, prompt: Any, seed: Any, fields: Mapping[str, Any], params: Mapping[str, Any]
) -> Found:
    """Sort out raw values: recipe fields that a recipe accepts, all else as bounded scalars."""
    sound: dict[str, Any] = {}
    rest: dict[str, Any] = dict(params)
    given = {name: value for name, value in fields.items() if value not in (None, "", [], ())}
    for name in Recipe.model_fields:
        if name not in given:
            continue
        try:
            recipe = Recipe.model_validate(sound | {name: given[name]})
        except (ValidationError, TypeError):
            rest[name] = given[name]
        else:
            sound[name] = recipe.model_dump(mode="json")[name]
    return Found(
        tool=tool,
        prompt=text(prompt)[:MAX_PROMPT_CHARS].strip(),
        seed=whole(seed),
        fields=sound,
        params=_params(rest),
    )


def text(value: Any) -> str:
    """A text that UTF-8 can hold; anything else is empty."""
    if not isinstance(value, str):
        return ""
    return value.encode("utf-8", "replace").decode().replace("\x00", "")


def whole(value: Any) -> int | None:
    """A seed: a whole number from 0 to 2^63 - 1, also as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = int(value) if not isinstance(value, str) else int(value.strip()[:25])
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < 2**63 else None


def _params(raw: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in raw.items():
        name = re.sub(r"[^a-z0-9]+", "_", str(key).lower())[:40].strip("_")
        if not name or name in BOOKS or len(out) >= MOST_PARAMS:
            continue
        plain = _scalar(value)
        if plain is not None:
            out[name] = plain
    return out


def _scalar(value: Any) -> str | float | bool | None:
    """Numbers stay numbers, also when written as text; lists and objects are no settings."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return float(value) if abs(value) < 1e300 else None  # NaN and infinity fall out too
    short = text(value).strip()[:LONGEST_VALUE]
    if re.fullmatch(r"[-+]?\d{1,15}(\.\d{1,15})?", short):
        return float(short)
    return short or None
