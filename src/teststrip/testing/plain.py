"""The plain diffusers pipeline as oracle, told in its own words and apart from our tables."""

from typing import Any

import numpy as np
import torch
from diffusers import schedulers
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)

from teststrip import Request

MULTI = {"algorithm_type": "dpmsolver++", "solver_order": 2}
ORACLE: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "ddpm": ("DDPMScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True}),
    "lms": ("LMSDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", MULTI),
    "dpmpp_3m": ("DPMSolverMultistepScheduler", MULTI | {"solver_order": 3}),
    "dpmpp_2m_sde": (
        "DPMSolverMultistepScheduler",
        MULTI | {"algorithm_type": "sde-dpmsolver++"},
    ),
    "dpmpp_2s": ("DPMSolverSinglestepScheduler", MULTI | {"lower_order_final": True}),
    "dpmpp_sde": ("DPMSolverSDEScheduler", {}),
    "kdpm2": ("KDPM2DiscreteScheduler", {}),
    "kdpm2_a": ("KDPM2AncestralDiscreteScheduler", {}),
    "deis": ("DEISMultistepScheduler", {"algorithm_type": "deis", "solver_type": "logrho"}),
    "unipc": ("UniPCMultistepScheduler", {"solver_type": "bh2"}),
    "lcm": ("LCMScheduler", {}),
    "tcd": ("TCDScheduler", {}),
    "sa_solver": ("SASolverScheduler", {}),
}


def pixels_of(pipe: StableDiffusionPipeline, request: Request) -> np.ndarray:
    """What `StableDiffusionPipeline.__call__` makes of a request: uint8 [H, W, 3]."""
    recipe, block = request.recipe, request.block
    name, _, suffix = recipe.scheduler.rpartition("_")
    if suffix not in ("karras", "exponential", "beta"):
        name, suffix = recipe.scheduler, ""
    class_name, options = ORACLE[name]
    options = dict(options)
    if suffix:
        options[f"use_{suffix}_sigmas"] = True
    if recipe.spacing:
        options["timestep_spacing"] = recipe.spacing
    if recipe.zero_snr:
        options["rescale_betas_zero_snr"] = True
    if name == "dpmpp_sde":
        options["noise_sampler_seed"] = block.seed
    kept = pipe.scheduler
    pipe.scheduler = getattr(schedulers, class_name).from_config(kept.config, **options)
    try:
        image = pipe(
            request.text,
            negative_prompt=recipe.negative_prompt or None,
            num_inference_steps=recipe.steps,
            guidance_scale=recipe.guidance,
            guidance_rescale=recipe.rescale,
            eta=recipe.eta,
            width=recipe.width,
            height=recipe.height,
            clip_skip=recipe.clip_skip or None,
            generator=torch.Generator("cpu").manual_seed(block.seed),
        ).images[0]
    finally:
        pipe.scheduler = kept
    return np.asarray(image)
