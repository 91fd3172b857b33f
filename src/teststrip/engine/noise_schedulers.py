"""A diffusers noise scheduler from a recipe's human name."""

import importlib
from collections.abc import Mapping
from typing import Any

from teststrip.errors import GenerationError
from teststrip.noise import NOISE_NAMES, SIGMA_SUFFIXES, split_name
from teststrip.recipe import Request


def build(request: Request, model_config: Mapping[str, Any], device: Any) -> Any:
    """A new noise scheduler with its timesteps set, as `from_config` of the model's own would be.

    Options go through `from_config`: setting them on the object afterwards does nothing, since
    the code reads `self.config`. Raises GenerationError where diffusers refuses the combination.
    """
    recipe = request.recipe
    base, suffix = split_name(recipe.scheduler)
    known = NOISE_NAMES[base]
    options = dict(known.options)
    if known.sigmas:
        options |= {f"use_{name}_sigmas": name == suffix for name in SIGMA_SUFFIXES}
    if recipe.spacing:
        options["timestep_spacing"] = recipe.spacing
    if recipe.zero_snr:
        if model_config.get("prediction_type", "epsilon") == "epsilon":
            raise GenerationError(
                "zero_snr needs a model trained with v-prediction; this one predicts the noise, "
                "which says nothing at zero signal (arXiv 2305.08891 section 3.3)"
            )
        options["rescale_betas_zero_snr"] = True
    if base == "dpmpp_sde":
        # It ignores the generator; unseeded it would draw its seed from torch's global state.
        options["noise_sampler_seed"] = request.block.seed
    kind = getattr(importlib.import_module("diffusers.schedulers"), known.class_name)
    try:
        noise_scheduler = kind.from_config(dict(model_config), **options)
        noise_scheduler.set_timesteps(recipe.steps, device=device)
    except (ValueError, IndexError, RuntimeError, NotImplementedError, AssertionError) as exc:
        raise GenerationError(
            f"the noise scheduler {recipe.scheduler} cannot do {recipe.steps} steps "
            f"with this model: {exc}"
        ) from exc
    return noise_scheduler
