"""A1111's settings text (also Forge's, SD.Next's, Fooocus' in that scheme), however incomplete."""

import json
import re
from typing import Any

from teststrip import a1111
from teststrip.errors import ConfigError
from teststrip.imports.found import Found, made

TOOL = "A1111"
MAIN = {"model", "scheduler", "steps", "guidance"}
_PAIR = re.compile(r'(\w[\w \-/]{1,60}):\s?("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_LORA = re.compile(r" ?<lora:([^:<>]{1,500})(?::([-+.\d]{1,30}))?(?::[^<>]{0,60})?>")
_NEGATIVE = "Negative prompt:"
_WORDS = {
    "Steps": "steps",
    "CFG scale": "guidance",
    "CFG rescale": "rescale",
    "Model": "model",
    "Eta DDIM": "eta",
    "Timestep spacing": "spacing",
}


def read(text: str) -> Found | None:
    """None where the text's last line is no settings line."""
    try:
        return _whole(a1111.from_text(text))
    except ConfigError:
        return _loose(text[: a1111.MAX_TEXT_CHARS])


def _whole(info: a1111.Infotext) -> Found:
    dump = info.request.recipe.model_dump
    recipe = dump(mode="json", exclude_defaults=True) | dump(include=MAIN)
    left = {key: value for key, value in info.leftover.items() if key != "Size"}
    return made(TOOL, info.request.block.prompt, info.request.block.seed, recipe, left)


def _loose(text: str) -> Found | None:
    """What can be told where something is missing or has no name of ours."""
    lines = text.strip().split("\n")
    at = next((i for i in range(len(lines) - 1, -1, -1) if "Steps:" in lines[i]), None)
    found = _PAIR.findall(lines[at]) if at is not None else []
    if at is None or len(found) < 2:
        return None
    pairs = {key.strip(): _unquoted(value) for key, value in found}
    prompt, _, negative = "\n".join(lines[:at]).partition(_NEGATIVE)
    fields: dict[str, Any] = {own: pairs.pop(word, None) for word, own in _WORDS.items()}
    fields["negative_prompt"] = negative.strip()
    fields["loras"] = [
        {"path": name, "scale": scale or 1.0} for name, scale in _LORA.findall(prompt)
    ]
    if size := re.fullmatch(r"(\d{1,5})x(\d{1,5})", pairs.pop("Size", "")):
        fields |= {"width": int(size[1]), "height": int(size[2])}
    if (skip := pairs.pop("Clip skip", "1")).isdecimal():
        fields["clip_skip"] = int(skip[:4]) - 1
    sampler, kind = pairs.pop("Sampler", ""), pairs.pop("Schedule type", "")
    scheduler, left = _scheduler(sampler, kind)
    seed = pairs.pop("Seed", None)
    return made(TOOL, _LORA.sub("", prompt), seed, fields | scheduler, pairs | left)


def _scheduler(sampler: str, kind: str) -> tuple[dict[str, str], dict[str, str]]:
    line = f"x\nSteps: 1, Sampler: {sampler}, Schedule type: {kind or 'Automatic'}, CFG scale: 2"
    try:
        recipe = a1111.from_text(f"{line}, Seed: 1").request.recipe
    except ConfigError:
        return {}, {"sampler": sampler, "schedule_type": kind}
    named = {"scheduler": recipe.scheduler}
    return (named | {"spacing": recipe.spacing} if recipe.spacing else named), {}


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text[1:-1]
    return text.strip()
