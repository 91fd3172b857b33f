"""A LoRA file -> its layers by module, whatever trainer wrote it: diffusers, peft or kohya keys."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import safetensors
import safetensors.torch
import torch

from teststrip.errors import ModelError

PARTS = ("unet", "text_encoder")
METADATA = "lora_adapter_metadata"
_KOHYA = {"lora_unet_": "unet", "lora_te_": "text_encoder", "lora_te1_": "text_encoder"}
_OLD = re.compile(r"\.to_(q|k|v|out)_lora\.(down|up)\.weight$")
_TENSORS = {
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".alpha": "alpha",
}


@dataclass(frozen=True)
class LoraLayer:
    """What is added to one layer's weight: alpha / rank * up @ down.

    `down` [rank, in] or [rank, in, k, k], `up` [out, rank] or [out, rank, 1, 1]. `alpha` is
    kohya's whatever the file's was: strength times rank. `magnitude` [out]: DoRA's (Liu et al.
    2024, arXiv 2402.09353), None in a plain LoRA.
    """

    down: torch.Tensor
    up: torch.Tensor
    alpha: float
    magnitude: torch.Tensor | None = None

    @property
    def rank(self) -> int:
        """Of the update."""
        return int(self.down.shape[0])


@dataclass(frozen=True)
class LoraWeights:
    """The layers of a file by part (`unet`, `text_encoder`) and module name.

    Module names are diffusers'; those of text encoders are without the leading `text_model.`,
    which transformers 5 no longer has.
    """

    layers: Mapping[str, Mapping[str, LoraLayer]]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_dora(self) -> bool:
        """Does any layer rescale the weight that it is added to?"""
        return any(layer.magnitude is not None for layer in self.every)

    @property
    def every(self) -> list[LoraLayer]:
        """All layers."""
        return [layer for part in self.layers.values() for layer in part.values()]


def parse(
    data: bytes, what: str, modules: Mapping[str, Iterable[str]] | None = None
) -> LoraWeights:
    """Read the bytes of a safetensors file. `what` names it in messages.

    `modules`: names of the model's modules by part; kohya's keys cannot be told without them.
    Raises ModelError: no LoRA, a kind that cannot be read rightly, keys of another architecture,
    numbers that are not finite.
    """
    try:
        tensors = safetensors.torch.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata: dict[str, str] = header.get("__metadata__", {})
        adapter = json.loads(metadata.get(METADATA) or "{}")
    except (safetensors.SafetensorError, ValueError, KeyError) as exc:
        raise ModelError(f"{what}: cannot be loaded: no whole safetensors file ({exc})") from exc
    if not tensors:
        raise ModelError(f"{what}: cannot be loaded: it holds no weights")
    found: dict[str, dict[str, dict[str, torch.Tensor]]] = {}
    strange = []
    flat = _flat_names(modules or {})
    for key, value in tensors.items():
        place = _place(key, flat)
        if place is None:
            strange.append(key)
        else:
            part, module, kind = place
            found.setdefault(part, {}).setdefault(module, {})[kind] = value
    if strange:
        raise ModelError(_refusal(what, strange, len(tensors), needs_model=modules is None))
    layers = {
        part: {
            name: _layer(what, f"{part}.{name}", t, adapter, part) for name, t in sorted(by.items())
        }
        for part, by in sorted(found.items())
    }
    for part, by in layers.items():
        plain = [name for name, layer in by.items() if layer.magnitude is None]
        if 0 < len(plain) < len(by):
            raise ModelError(
                f"{what}: a DoRA without magnitude for {len(plain)} of its {len(by)} layers in "
                f"{part} (first: {plain[0]})"
            )
    return LoraWeights(layers, metadata)


def _layer(
    what: str, name: str, tensors: Mapping[str, torch.Tensor], adapter: Mapping[str, Any], part: str
) -> LoraLayer:
    if not {"down", "up"} <= tensors.keys():
        raise ModelError(f"{what}: cannot be loaded: layer {name} has only {', '.join(tensors)}")
    down, up = tensors["down"], tensors["up"]
    if down.ndim < 2 or up.ndim < 2 or down.shape[0] != up.shape[1]:
        raise ModelError(
            f"{what}: cannot be loaded: layer {name} has shapes {tuple(down.shape)} and "
            f"{tuple(up.shape)}, which are no LoRA"
        )
    if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
        raise ModelError(f"{what}: layer {name} holds numbers that are not finite; train it again")
    rank = int(down.shape[0])
    if "alpha" in tensors:
        alpha = float(tensors["alpha"].item())
    else:
        alpha = _alpha(adapter, part, name.removeprefix(f"{part}."), rank)
    magnitude = tensors.get("magnitude")
    return LoraLayer(down, up, alpha, None if magnitude is None else magnitude.flatten())


def _alpha(adapter: Mapping[str, Any], part: str, module: str, rank: int) -> float:
    """Kohya's alpha from peft's config; without a config the strength is 1, as in diffusers."""
    if f"{part}.lora_alpha" not in adapter:
        return float(rank)
    alpha = float(adapter[f"{part}.lora_alpha"])
    for pattern, other in (adapter.get(f"{part}.alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):  # as peft matches
            alpha = float(other)
            break
    return alpha * math.sqrt(rank) if adapter.get(f"{part}.use_rslora") else alpha


def _place(key: str, flat: Mapping[str, tuple[str, str]]) -> tuple[str, str, str] | None:
    """(part, module, kind of tensor) of a key; None where it is nothing we know."""
    kind = next((end for end in _TENSORS if key.endswith(end)), None)
    if kind and (known := flat.get(key.removesuffix(kind))):
        return (*known, _TENSORS[kind])
    part, _, rest = key.partition(".")
    if part not in PARTS:
        return None
    rest = rest.replace(".processor.", ".")
    if old := _OLD.search(rest):
        last = {"out": "to_out.0"}.get(old[1], f"to_{old[1]}")
        if part == "text_encoder":
            last = f"{old[1]}_proj"
        return part, _bare(f"{rest[: old.start()]}.{last}"), "down" if old[2] == "down" else "up"
    kind = next((end for end in _TENSORS if rest.endswith(end)), None)
    return (part, _bare(rest.removesuffix(kind)), _TENSORS[kind]) if kind else None


def _flat_names(modules: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, str]]:
    """Kohya's name of each module -> (part, module)."""
    names = {}
    for prefix, part in _KOHYA.items():
        for module in modules.get(part, ()):
            bare = _bare(module)
            full = f"text_model.{bare}" if part == "text_encoder" else bare
            names[prefix + full.replace(".", "_")] = (part, bare)
    return names


def _bare(module: str) -> str:
    return module.removeprefix("text_model.")


def _refusal(what: str, strange: list[str], count: int, *, needs_model: bool) -> str:
    first = strange[0]
    if any(key.endswith(".dora_scale") for key in strange):
        return (
            f"{what}: a DoRA with kohya's keys; programs disagree on what its dora_scale is "
            "divided by, so it cannot be read for sure. Take the file with diffusers' keys"
        )
    if any(re.search(r"\.(lokr|hada|oft|glora|boft)_?", key) for key in strange):
        return f"{what}: a LyCORIS adapter ({first}); plain LoRA and DoRA are accepted"
    if needs_model and first.startswith(tuple(_KOHYA)):
        return f"{what}: has kohya's keys, which can be read beside their model only"
    return (
        f"{what}: is for another architecture, or no LoRA: {len(strange)} of its {count} tensors "
        f"belong to no layer of this model (first: {first})"
    )
