"""SwarmUI: JSON with `sui_image_params`, in PNG `parameters` or EXIF UserComment.

Format: mcmonkeyprojects/SwarmUI, docs/Image Metadata Format.md. Values may be text.
"""

from collections.abc import Mapping
from typing import Any

from teststrip.imports.found import Found, made
from teststrip.imports.samplers import scheduler_fields

TOOL = "SwarmUI"
_WORDS = {
    "model": "model",
    "steps": "steps",
    "cfgscale": "guidance",
    "width": "width",
    "height": "height",
    "negativeprompt": "negative_prompt",
}


def read(data: Mapping[str, Any]) -> Found | None:
    """None where the JSON is not SwarmUI's."""
    params = data.get("sui_image_params")
    if not isinstance(params, Mapping):
        return None
    left = {str(key): value for key, value in params.items()}
    prompt, seed = left.pop("prompt", ""), left.pop("seed", None)
    fields: dict[str, Any] = {own: left.pop(word, None) for word, own in _WORDS.items()}
    named, more = scheduler_fields(left.pop("sampler", ""), left.pop("scheduler", ""))
    fields["loras"] = _loras(left.pop("loras", None), left.pop("loraweights", None))
    return made(TOOL, prompt, seed, fields | named, left | more)


def _loras(names: Any, weights: Any) -> list[dict[str, Any]]:
    names, weights = _listed(names), _listed(weights)
    weights += [1.0] * (len(names) - len(weights))
    return [{"path": str(n), "scale": w} for n, w in zip(names, weights, strict=False)]


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list) else []
