"""InvokeAI: `invokeai_metadata` (3 and later), `sd-metadata` (2), JSON in PNG text."""

import re
from collections.abc import Mapping
from typing import Any

from teststrip.imports.found import Found, made
from teststrip.imports.samplers import scheduler_fields

TOOL = "InvokeAI"
_WORDS = {
    "steps": "steps",
    "cfg_scale": "guidance",
    "cfg_rescale_multiplier": "rescale",
    "width": "width",
    "height": "height",
    "negative_prompt": "negative_prompt",
    "clip_skip": "clip_skip",
}
_SIGN = re.compile(r"\[([^\[\]]*)\]")  # version 2 writes what is not wanted in brackets


def read(data: Mapping[str, Any]) -> Found | None:
    """`invokeai_metadata`. None where it is something else."""
    if not {"positive_prompt", "steps", "cfg_scale"} & set(data):
        return None
    left = {str(key): value for key, value in data.items()}
    prompt, seed = left.pop("positive_prompt", ""), left.pop("seed", None)
    fields: dict[str, Any] = {own: left.pop(word, None) for word, own in _WORDS.items()}
    fields["model"] = _name(left.pop("model", None))
    fields["loras"] = [
        {"path": _name(entry.get("model") or entry.get("lora")), "scale": entry.get("weight", 1.0)}
        for entry in _objects(left.pop("loras", None))
    ]
    left["vae"] = _name(left.get("vae"))
    named, more = scheduler_fields(left.pop("scheduler", ""))
    return made(TOOL, prompt, seed, fields | named, left | more)


def read_old(data: Mapping[str, Any]) -> Found | None:
    """`sd-metadata`. None where it is something else."""
    image = data.get("image")
    if not isinstance(image, Mapping):
        return None
    left = {str(key): value for key, value in image.items()}
    prompt, negative = _old_prompt(left.pop("prompt", ""))
    seed = left.pop("seed", None)
    words = {key: own for key, own in _WORDS.items() if key != "negative_prompt"}
    fields: dict[str, Any] = {own: left.pop(word, None) for word, own in words.items()}
    fields |= {"model": data.get("model_weights"), "negative_prompt": negative}
    named, more = scheduler_fields(left.pop("sampler", ""))
    return made(TOOL, prompt, seed, fields | named, left | more)


def _old_prompt(value: Any) -> tuple[str, str]:
    """A text, or a list of `{prompt, weight}`."""
    parts = [str(part.get("prompt", "")) for part in _objects(value)]
    whole = ", ".join(parts) if parts else value if isinstance(value, str) else ""
    negative = ", ".join(_SIGN.findall(whole))
    return re.sub(r"\s+", " ", _SIGN.sub("", whole)).strip(" ,"), negative


def _name(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("model_name") or value.get("name") or value.get("key")
    return value if isinstance(value, str) else ""


def _objects(value: Any) -> list[Mapping[str, Any]]:
    return [v for v in value if isinstance(v, Mapping)] if isinstance(value, list) else []
