"""LoRA files for other programs: diffusers' keys, and kohya's for A1111 and ComfyUI.

In all of them the scale is in the file, so that a program applies it at 1.
"""

import json
from typing import Any

import torch

from teststrip.engine.lora_file import METADATA, LoraLayer, LoraWeights
from teststrip.errors import ConfigError
from teststrip.train.export.metadata import lineage, metadata
from teststrip.train.export.source import Source
from teststrip.train.tensor_file import tensor_bytes

_PREFIX = {"unet": "lora_unet_", "text_encoder": "lora_te_text_model_"}


def diffusers_file(source: Source, weights: LoraWeights) -> bytes:
    """diffusers' and peft's keys at strength 1: right also where alpha is never looked at.

    Text encoders have the classic `text_model.` in their keys: diffusers with transformers 4 needs
    it, with transformers 5 takes it out. Raises ConfigError for a DoRA of the text encoder.
    """
    if any(
        layer.magnitude is not None for layer in weights.layers.get("text_encoder", {}).values()
    ):
        raise ConfigError(
            "format diffusers: this DoRA is on the text encoder too, and diffusers 0.42 leaves "
            "its magnitudes out there without a word; export it as merged or onnx"
        )
    tensors: dict[str, torch.Tensor] = {}
    config: dict[str, Any] = {}
    for part, layers in weights.layers.items():
        for module, layer in layers.items():
            name = f"{part}.text_model.{module}" if part == "text_encoder" else f"{part}.{module}"
            tensors[f"{name}.lora_A.weight"] = layer.down
            tensors[f"{name}.lora_B.weight"] = layer.up * _strength(layer, source.scale)
            if layer.magnitude is not None:
                tensors[f"{name}.lora_magnitude_vector"] = layer.magnitude
        config |= {f"{part}.{key}": value for key, value in _peft(layers).items()}
    notes = {"format": "pt", METADATA: json.dumps(config, indent=2, sort_keys=True)}
    return tensor_bytes(tensors, notes | lineage(source))


def kohya_file(source: Source, weights: LoraWeights, unet: Any, scheduler: Any) -> bytes:
    """sd-scripts' keys and metadata. `unet`, `scheduler`: configs of the base model.

    Alpha is one number per part, which every reader gets right: where a layer's differs, the
    difference goes into its up weight. Raises ConfigError for a DoRA.
    """
    if weights.is_dora:
        raise ConfigError(
            "format kohya, comfyui: a DoRA cannot be given out with these keys: A1111 divides its "
            "magnitude by another norm than ComfyUI, and both by another than peft trains. "
            "Export it as diffusers, merged or onnx"
        )
    tensors: dict[str, torch.Tensor] = {}
    first = 0.0
    for part, layers in sorted(weights.layers.items(), reverse=True):  # the UNet's alpha is shown
        alphas = [layer.alpha * source.scale for layer in layers.values()]
        alpha = max(set(alphas), key=alphas.count)
        for (module, layer), own in zip(layers.items(), alphas, strict=True):
            name = _PREFIX[part] + module.replace(".", "_")
            tensors[f"{name}.lora_down.weight"] = layer.down
            tensors[f"{name}.lora_up.weight"] = (
                layer.up if own == alpha else layer.up * (own / alpha)
            )
            tensors[f"{name}.alpha"] = torch.tensor(alpha)
        first = first or alpha
    return tensor_bytes(
        tensors, {"format": "pt"} | metadata(source, tensors, unet, scheduler, first)
    )


def _strength(layer: LoraLayer, scale: float) -> float:
    return layer.alpha / layer.rank * scale


def _peft(layers: Any) -> dict[str, Any]:
    """peft's config of layers whose strength is 1: each one's alpha is its rank."""
    ranks = {module: layer.rank for module, layer in layers.items()}
    rank = max(set(ranks.values()), key=list(ranks.values()).count)
    other = {f"^{module}": r for module, r in ranks.items() if r != rank}
    return {
        "r": rank,
        "lora_alpha": rank,
        "rank_pattern": other,
        "alpha_pattern": other,
        "target_modules": sorted(layers),
        "use_dora": any(layer.magnitude is not None for layer in layers.values()),
        "use_rslora": False,
        "lora_bias": False,
        "peft_type": "LORA",
    }
