"""StepPipeline: what a model family must offer so that its images can share forwards."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Protocol

import torch

from teststrip.engine.adapter_files import Adapter
from teststrip.recipe import Recipe


class StepPipeline(Protocol):
    """One model, opened; the engine knows nothing else of it.

    All calls run under `torch.inference_mode`. Same inputs, same outputs; a row's output depends
    on its own inputs and (through kernel choice only) on the row count.
    """

    @property
    def device(self) -> torch.device:
        """Where forwards run."""
        ...

    @property
    def noise_config(self) -> Mapping[str, Any]:
        """The model's own noise-scheduler config; every recipe's scheduler is made from it."""
        ...

    def size(self, recipe: Recipe) -> tuple[int, int]:
        """(width_px, height_px). Raises ConfigError if the model cannot make that size."""
        ...

    def encode(self, text: str, *, clip_skip: int) -> Any:
        """What the model is conditioned on, for one prompt encoded alone."""
        ...

    def condition_key(self, condition: Any) -> Hashable:
        """Equal for conditions that may share a forward (embedding length)."""
        ...

    def initial_noise(self, width: int, height: int, generator: torch.Generator) -> torch.Tensor:
        """Standard normal latents [1, C, h, w] in the pipeline's dtype, drawn as it draws them."""
        ...

    def is_guided(self, recipe: Recipe) -> bool:
        """True where an image needs two rows (guidance is not embedded in the model)."""
        ...

    def denoise(
        self,
        latents: torch.Tensor,
        timesteps: torch.Tensor,
        conditions: Sequence[Any],
        guidances: Sequence[float],
    ) -> torch.Tensor:
        """The model's output for rows latents [B, C, h, w], timesteps [B] float32."""
        ...

    def decode(self, latents: torch.Tensor) -> Any:
        """One image: latents [1, C, h, w] -> PIL image, RGB uint8."""
        ...

    def latents_of(self, image: Any) -> torch.Tensor:
        """The latents [1, C, h, w] that a PIL image is encoded to; `decode` gives it back."""
        ...

    def use_adapters(self, adapters: Sequence[Adapter]) -> None:
        """Activate exactly these adapters at these scales (part of the batch key)."""
        ...

    def close(self) -> None:
        """Free the weights."""
        ...
