"""What is trained: a base model opened for training, one class per family behind `Trainable`."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from teststrip.engine import device as devices
from teststrip.engine import loading
from teststrip.errors import ModelError
from teststrip.train.config import TrainConfig


class Trainable(Protocol):
    """A frozen base model, as the loop, the caches and the measures see it."""

    unet: Any
    text_encoder: Any
    tokenizer: Any
    device: torch.device
    dtype: torch.dtype
    fingerprint: str
    factor: int
    native: tuple[int, int]
    multiple: int
    noise: Any
    prediction: str

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels [B, 3, H, W] in -1..1 -> (mean, std) of the latents [B, C, h, w], fp32, scaled."""
        ...

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts -> [B, tokens, dim]; with gradients where the text encoder is trained."""
        ...

    def predict(self, latents: Tensor, timesteps: Tensor, hidden: Tensor) -> Tensor:
        """The UNet's answer [B, C, h, w] for noisy latents at `timesteps` [B] (whole numbers)."""
        ...


class StableDiffusionBase:
    """Stable Diffusion 1.x and 2.x: any folder in the layout of StableDiffusionPipeline.

    All weights are frozen. UNet and text encoder compute in `dtype`; the VAE stays in fp32, since
    its latents are made once and then kept.
    """

    def __init__(self, pipe: Any, fingerprint: str, dtype: torch.dtype) -> None:
        for part in (pipe.unet, pipe.vae, pipe.text_encoder):
            part.requires_grad_(False)
            part.eval()
        if dtype != torch.float32:
            with loading.quiet_libraries():
                pipe.unet.to(dtype)
                pipe.text_encoder.to(dtype)
        self.unet = pipe.unet
        self.text_encoder = pipe.text_encoder
        self.tokenizer = pipe.tokenizer
        self.vae = pipe.vae
        self.device = pipe.unet.device
        self.dtype = dtype
        self.fingerprint = fingerprint
        self.factor = int(pipe.vae_scale_factor)
        sample = pipe.unet.config.sample_size
        height, width = (sample, sample) if isinstance(sample, int) else sample
        self.native = (width * self.factor, height * self.factor)
        # Up- and downsampling meet again only if the latents halve evenly at every level.
        self.multiple = self.factor * 2 ** (len(pipe.unet.config.block_out_channels) - 1)
        self.noise = _training_noise(pipe.scheduler.config)
        self.prediction = str(self.noise.config.prediction_type)
        self._scale = float(pipe.vae.config.scaling_factor)
        self._masks_words = bool(getattr(pipe.text_encoder.config, "use_attention_mask", False))

    @torch.no_grad()
    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, std) of the latents [B, C, h, w], fp32, scaled as the UNet wants them."""
        found = self.vae.encode(pixels.to(self.vae.device, torch.float32)).latent_dist
        return (found.mean * self._scale).to(self.device), (found.std * self._scale).to(self.device)

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Texts -> [B, tokens, dim], as the pipeline's `encode_prompt` makes them."""
        words = self.tokenizer(
            list(texts),
            padding="max_length",
            max_length=self.tokenizer.model_max_length,
            truncation=True,
            return_tensors="pt",
        )
        at = next(self.text_encoder.parameters()).device
        mask = words.attention_mask.to(at) if self._masks_words else None
        hidden: Tensor = self.text_encoder(words.input_ids.to(at), attention_mask=mask)[0]
        return hidden.to(self.device)

    def predict(self, latents: Tensor, timesteps: Tensor, hidden: Tensor) -> Tensor:
        """The UNet's answer [B, C, h, w]."""
        answer: Tensor = self.unet(
            latents.to(self.dtype),
            timesteps,
            encoder_hidden_states=hidden.to(self.dtype),
            return_dict=False,
        )[0]
        return answer

    def park(self, *, vae: bool, text_encoder: bool) -> None:
        """Move parts that are not needed for now to the CPU; they still answer there."""
        if vae:
            self.vae.to("cpu")
        if text_encoder:
            self.text_encoder.to("cpu")
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


# engine.loading.FAMILIES says which pipeline classes belong to a family.
FAMILIES: dict[str, Callable[[Any, str, torch.dtype], StableDiffusionBase]] = {
    "sd": StableDiffusionBase
}


def open_model(config: TrainConfig, device: str = "auto") -> StableDiffusionBase:
    """The base model of a run on `device` (auto, cpu, cuda, cuda:1, mps), frozen.

    Raises ModelError for a model that cannot be opened or trained, ConfigError for a device that
    is not there.
    """
    where = devices.find(device)
    folder = loading.find_folder(config.base.model, config.base.revision)
    family = loading.FAMILIES[loading.check_folder(folder)["_class_name"]]
    pipe = loading.open_pipeline(folder, torch.float32, where)
    if fault := _untrainable(pipe):
        raise ModelError(f"model {config.base.model}: {fault}")
    return FAMILIES[family](
        pipe, loading.fingerprint(folder), devices.TORCH_DTYPES[config.precision]
    )


def _training_noise(config: Any) -> Any:
    """The model's own noise schedule, all of its timesteps."""
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    with loading.quiet_libraries():
        return DDPMScheduler.from_config(config)


def _untrainable(pipe: Any) -> str:
    """Why this pipeline cannot be trained here; empty if it can."""
    prediction = pipe.scheduler.config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        return f"predicts {prediction!r}; epsilon and v_prediction can be trained"
    wanted, got = pipe.vae.config.latent_channels, pipe.unet.config.in_channels
    if wanted != got:
        return f"its UNet takes {got} channels and not {wanted} (inpainting?): cannot be trained"
    if pipe.unet.config.time_cond_proj_dim is not None:
        return "is a distilled model with built-in guidance; train its undistilled base"
    return ""
