"""A1111's infotext, the settings text that the field writes under a picture, both ways.

    a red apple on a table <lora:ink:0.8>
    Negative prompt: blurry
    Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 1, Size: 512x512

Format: AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py. What A1111 has no word
for goes into extra keys (`CFG rescale`, `Timestep spacing`, `Prompt template`, ...); whatever the
text would still lose (a LoRA's folder, a size left to the model, a prompt that holds a line
`Negative prompt:`) goes as JSON into the key `Teststrip`. So `from_text(to_text(r)).request == r`.
"""

import json
import re
from pathlib import PurePath
from typing import Any, NamedTuple

from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.noise import NOISE_NAMES, SIGMA_SUFFIXES, split_name
from teststrip.recipe import Request, canonical_json

MAX_TEXT_CHARS = 400_000
_NEGATIVE = "Negative prompt:"
# A1111's own pattern, with a bounded key so that hostile text costs linear time
_PAIR = re.compile(r'(\w[\w \-/]{1,60}):\s?("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_LORA = re.compile(r" ?<lora:([^:<>]{1,500})(?::([^:<>]{0,30}))?(?::[^<>]{0,60})?>")
_SAMPLERS = {known.a1111.lower(): name for name, known in NOISE_NAMES.items() if known.a1111}
_SAMPLERS |= {name: name for name in NOISE_NAMES}
_ZERO_SNR = "Zero Terminal SNR"
_NEEDED = {"steps": "Steps", "scheduler": "Sampler", "guidance": "CFG scale", "seed": "Seed"}


class Infotext(NamedTuple):
    """What a settings text says. `leftover`: keys that a recipe has no field for, unchanged."""

    request: Request
    size: tuple[int, int] | None
    leftover: dict[str, str]


def to_text(request: Request, width: int, height: int, model_hash: str | None = None) -> str:
    """The infotext of one picture of `width` x `height` px."""
    plain = _plain(request, width, height, model_hash)
    lost = _lost(request, plain)
    return plain if not lost else f"{plain}, Teststrip: {_quote(canonical_json(lost))}"


def from_text(text: str) -> Infotext:
    """Read an infotext, ours or A1111's.

    Old (`DPM++ 2M Karras`) and new (`DPM++ 2M` + `Schedule type: Karras`) sampler names are read.
    LoRA tokens leave the prompt and become `recipe.loras`, named as the token names them.
    Raises ConfigError that lists what is missing, unknown or out of range.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise ConfigError(f"settings text of {len(text)} characters: at most {MAX_TEXT_CHARS}")
    pairs, fields = _fields(text)
    patch = _patch(pairs.pop("Teststrip", None))
    missing = [f"{word}: missing" for field, word in _NEEDED.items() if field not in fields | patch]
    if missing:
        raise ConfigError("settings text: not a complete A1111 settings line", missing)
    size = re.fullmatch(r"(\d{1,5})x(\d{1,5})", pairs.pop("Size", ""))
    request = _request(fields | patch)
    return Infotext(request, (int(size[1]), int(size[2])) if size else None, pairs)


def _plain(request: Request, width: int, height: int, model_hash: str | None) -> str:
    recipe = request.recipe
    base, suffix = split_name(recipe.scheduler)
    tokens = (f" <lora:{PurePath(lora.path).stem}:{_number(lora.scale)}>" for lora in recipe.loras)
    pairs = {
        "Steps": recipe.steps,
        "Sampler": NOISE_NAMES[base].a1111 or base,
        "Schedule type": suffix.capitalize() if suffix else None,
        "CFG scale": _number(recipe.guidance),
        "Seed": request.block.seed,
        "Size": f"{width}x{height}",
        "Model hash": model_hash,
        "Model": recipe.model,
        "Model revision": recipe.revision,
        "Clip skip": recipe.clip_skip + 1 if recipe.clip_skip else None,
        f"Eta {base.upper()}": _number(recipe.eta) if recipe.eta else None,
        "Noise Schedule": _ZERO_SNR if recipe.zero_snr else None,
        "CFG rescale": _number(recipe.rescale) if recipe.rescale else None,
        "Timestep spacing": recipe.spacing,
        "Prompt template": None if recipe.prompt_template == "{prompt}" else recipe.prompt_template,
        "Dtype": recipe.dtype,
    }
    lines = [request.text + "".join(tokens)]
    if recipe.negative_prompt:
        lines.append(f"{_NEGATIVE} {recipe.negative_prompt}")
    lines.append(", ".join(f"{k}: {_quote(str(v))}" for k, v in pairs.items() if v is not None))
    return "\n".join(lines)


def _lost(request: Request, plain: str) -> dict[str, Any]:
    """The fields that reading `plain` would not give back."""
    try:
        read = _flat(_request(_fields(plain)[1]))
    except ConfigError:
        read = {}
    wanted = _flat(request)
    return {name: value for name, value in wanted.items() if read.get(name, ...) != value}


def _fields(text: str) -> tuple[dict[str, str], dict[str, Any]]:
    """The settings line's pairs that are left, and flat fields of recipe and block, unchecked."""
    *lines, last = text.strip().split("\n")
    found = _PAIR.findall(last)
    if len(found) < 3:
        raise ConfigError("settings text: its last line is no A1111 settings line (Steps: ..)")
    pairs = {key: _unquote(value) for key, value in found}
    prompt, negative = _prompts(lines)
    fields: dict[str, Any] = {"negative_prompt": negative}
    fields["loras"] = [{"path": n, "scale": scale or 1.0} for n, scale in _LORA.findall(prompt)]
    template = pairs.pop("Prompt template", "{prompt}")
    fields["prompt_template"] = template
    fields["prompt"] = _without_template(_LORA.sub("", prompt), template)
    if "Sampler" in pairs:
        fields |= _scheduler(pairs.pop("Sampler"), pairs.pop("Schedule type", ""))
    fields["model"] = pairs.pop("Model", None) or pairs.get("Model hash") or "unknown"
    if size := re.fullmatch(r"(\d{1,5})x(\d{1,5})", pairs.get("Size", "")):
        fields |= {"width": size[1], "height": size[2]}
    clip_skip = pairs.pop("Clip skip", "1")
    fields["clip_skip"] = int(clip_skip) - 1 if clip_skip.isdecimal() else clip_skip
    fields["zero_snr"] = pairs.get("Noise Schedule") == _ZERO_SNR
    if fields["zero_snr"]:
        del pairs["Noise Schedule"]
    words = {
        "Steps": "steps",
        "CFG scale": "guidance",
        "Seed": "seed",
        "Model revision": "revision",
        "Eta DDIM": "eta",
        "Eta TCD": "eta",
        "CFG rescale": "rescale",
        "Timestep spacing": "spacing",
        "Dtype": "dtype",
    }
    fields |= {field: pairs.pop(word) for word, field in words.items() if word in pairs}
    return pairs, fields


def _prompts(lines: list[str]) -> tuple[str, str]:
    prompt: list[str] = []
    negative: list[str] = []
    here = prompt
    for raw in lines:
        line = raw.strip()
        if line.startswith(_NEGATIVE):
            here, line = negative, line.removeprefix(_NEGATIVE).strip()
        here.append(line)
    return "\n".join(prompt), "\n".join(negative)


def _scheduler(sampler: str, schedule: str) -> dict[str, str]:
    """Our scheduler (and spacing) for A1111's sampler and schedule type."""
    name, kind = sampler.strip().lower(), schedule.strip().lower()
    for suffix in SIGMA_SUFFIXES:
        if name not in _SAMPLERS and name.endswith(f" {suffix}"):
            name, kind = name.removesuffix(f" {suffix}"), suffix
    spacing = {"spacing": "trailing"} if kind == "sgm uniform" else {}
    if name in _SAMPLERS and kind in ("", "automatic", "uniform", "sgm uniform"):
        return {"scheduler": _SAMPLERS[name]} | spacing
    if name in _SAMPLERS and kind in SIGMA_SUFFIXES and NOISE_NAMES[_SAMPLERS[name]].sigmas:
        return {"scheduler": f"{_SAMPLERS[name]}_{kind}"}
    accepted = ", ".join(known.a1111 or base for base, known in NOISE_NAMES.items())
    raise ConfigError(
        f"settings text: no noise scheduler for Sampler {sampler!r} with Schedule type "
        f"{schedule!r}; samplers: {accepted}; schedule types: Automatic, Uniform, SGM Uniform, "
        "and where the sampler takes them Karras, Exponential, Beta"
    )


def _without_template(text: str, template: str) -> str:
    before, _, after = template.partition("{prompt}")
    fits = len(text) >= len(before) + len(after)
    if fits and text.startswith(before) and text.endswith(after):
        return text[len(before) : len(text) - len(after)]
    return text


def _patch(text: str | None) -> dict[str, Any]:
    try:
        patch = json.loads(text) if text else {}
    except ValueError as exc:
        raise ConfigError(f"settings text: the value of `Teststrip` is no JSON: {exc}") from exc
    if not isinstance(patch, dict):
        raise ConfigError("settings text: the value of `Teststrip` is no JSON object")
    return patch


def _request(fields: dict[str, Any]) -> Request:
    block = {name: fields[name] for name in ("prompt", "seed") if name in fields}
    recipe = {name: value for name, value in fields.items() if name not in block}
    return parse(Request, {"recipe": recipe, "block": block}, "settings text")


def _flat(request: Request) -> dict[str, Any]:
    return request.recipe.model_dump(mode="json") | request.block.model_dump(mode="json")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _quote(text: str) -> str:
    # blanks at an end (also those of Unicode) would be stripped where the value ends the text
    if not any(mark in text for mark in ',\n:"') and text == text.strip():
        return text
    return json.dumps(text, ensure_ascii=False)


def _unquote(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text
