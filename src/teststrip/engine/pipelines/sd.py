"""Stable Diffusion 1.x and 2.x: any folder in the layout of diffusers' StableDiffusionPipeline."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor

from teststrip.engine.adapter_files import Adapter
from teststrip.engine.adapters import Adapters
from teststrip.errors import ConfigError
from teststrip.recipe import Recipe


class StableDiffusion:
    """StepPipeline over a loaded StableDiffusionPipeline.

    Every call goes through the pipeline's own parts (encode_prompt, unet, vae, image_processor),
    so that one request alone is bit-identical to the pipeline's own `__call__`.
    """

    def __init__(self, pipe: Any, adapters: int = 8) -> None:
        self.pipe = pipe
        self.unet = pipe.unet
        self.adapters = Adapters(pipe, adapters)
        # diffusers walks all parameters to answer this: 1 ms a call, several calls a step.
        self._device = pipe.unet.device
        self._embeds_guidance = pipe.unet.config.time_cond_proj_dim is not None

    @property
    def device(self) -> torch.device:
        """Where forwards run."""
        return self._device

    @property
    def noise_config(self) -> Mapping[str, Any]:
        """The model's own noise-scheduler config."""
        return self.pipe.scheduler.config

    def size(self, recipe: Recipe) -> tuple[int, int]:
        """(width_px, height_px); the model's native size where the recipe names none."""
        sample = self.unet.config.sample_size
        native_h, native_w = (sample, sample) if isinstance(sample, int) else sample
        factor = self.pipe.vae_scale_factor
        width = recipe.width or native_w * factor
        height = recipe.height or native_h * factor
        # Up- and downsampling meet again only if the latents halve evenly at every level.
        multiple = factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        faults = [
            f"{name} {px} px: this model makes multiples of {multiple} px only"
            for name, px in (("width", width), ("height", height))
            if px % multiple
        ]
        if faults:
            raise ConfigError("the model cannot make this size", faults)
        return width, height

    def encode(self, text: str, *, clip_skip: int) -> torch.Tensor:
        """Text embedding [1, tokens, dim] of one prompt encoded alone (diffusers' batch of one)."""
        return self.pipe.encode_prompt(
            text, self.device, 1, do_classifier_free_guidance=False, clip_skip=clip_skip or None
        )[0]

    def condition_key(self, condition: torch.Tensor) -> Hashable:
        """Embedding length: rows of one forward must agree in it."""
        return tuple(condition.shape[1:])

    def initial_noise(self, width: int, height: int, generator: torch.Generator) -> torch.Tensor:
        """One draw of [1, C, h, w] in the text encoder's dtype, as prepare_latents does."""
        factor = self.pipe.vae_scale_factor
        shape = (1, self.unet.config.in_channels, height // factor, width // factor)
        dtype = self.pipe.text_encoder.dtype
        return randn_tensor(shape, generator=generator, device=self.device, dtype=dtype)

    def is_guided(self, recipe: Recipe) -> bool:
        """Models with embedded guidance (LCM-distilled) take one row whatever the scale."""
        return recipe.guided and not self._embeds_guidance

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditions: Sequence[torch.Tensor],
        guidances: Sequence[float],
    ) -> torch.Tensor:
        """UNet output [B, C, h, w] for rows that differ in everything but their shape."""
        embedded = None
        if self._embeds_guidance:
            embedded = self.pipe.get_guidance_scale_embedding(
                torch.tensor(guidances) - 1, embedding_dim=self.unet.config.time_cond_proj_dim
            ).to(device=self.device, dtype=latents.dtype)
        return self.unet(
            latents,
            timesteps.to(self.device),
            encoder_hidden_states=torch.cat(list(conditions)),
            timestep_cond=embedded,
            return_dict=False,
        )[0]

    def decode(self, latents: torch.Tensor) -> Any:
        """One image; decoded alone, so that its pixels never depend on other images."""
        factor = self.pipe.vae.config.scaling_factor
        image = self.pipe.vae.decode(latents / factor, return_dict=False)[0]
        return self.pipe.image_processor.postprocess(image, output_type="pil")[0]

    def latents_of(self, image: Any) -> torch.Tensor:
        """The mean that the VAE encodes a PIL image to, times its scaling factor."""
        vae = self.pipe.vae
        pixels = self.pipe.image_processor.preprocess(image).to(self.device, vae.dtype)
        return vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor

    def use_adapters(self, adapters: Sequence[Adapter]) -> None:
        """Activate exactly these LoRAs."""
        self.adapters.use(adapters)

    def close(self) -> None:
        """Free the weights."""
        self.pipe = self.unet = None
