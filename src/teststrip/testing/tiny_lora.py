"""A real LoRA file with random weights, as a trainer on peft and diffusers saves it."""

from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)
from diffusers.training_utils import _collate_lora_metadata
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from teststrip.engine.loading import open_pipeline

NAME = "pytorch_lora_weights.safetensors"


def tiny_lora(
    folder: Path,
    base: Path,
    *,
    seed: int = 0,
    rank: int = 4,
    alpha: float = 8,
    std: float = 0.3,
    text_encoder: bool = False,
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0"),
    **options: Any,
) -> Path:
    """Save a LoRA of pipeline `base` in `folder`; returns its file.

    `options` are LoraConfig's (use_dora, use_rslora, rank_pattern, ...). `std`: of the random up
    weights; 0 is a LoRA that does nothing.
    """
    pipe = open_pipeline(base, torch.float32, "cpu")
    torch.manual_seed(seed)
    parts = {"unet": targets}
    if text_encoder:
        parts["text_encoder"] = ("q_proj", "k_proj", "v_proj", "out_proj")
    layers = {}
    for part, names in parts.items():
        model = getattr(pipe, part)
        model.add_adapter(
            LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(names), **options)
        )
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=std)
            elif "magnitude" in name:
                parameter.data *= 1 + 0.3 * torch.rand_like(parameter)
        layers[part] = get_peft_model_state_dict(model)
    StableDiffusionPipeline.save_lora_weights(
        str(folder),
        unet_lora_layers=layers["unet"],
        text_encoder_lora_layers=layers.get("text_encoder"),
        **_collate_lora_metadata({part: getattr(pipe, part) for part in parts}),
    )
    return folder / NAME
