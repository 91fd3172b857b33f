"""How a picture looks before it is finished: latents to colours by a matrix, no decoder needed.

A VAE's latents are nearly linear in the colours of the pixels below them. The matrix is fitted
once for each model, by least squares on what its own decoder makes of a few coloured fields.
"""

import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from teststrip.engine.pipelines.base import StepPipeline
from teststrip.recipe import Recipe

FIELDS, CELLS = 4, (2, 4, 8, 16)
MOST_SIDE_PX = 128
RIDGE = 1e-3


class LatentPreview:
    """Previews of one model's latents; fitted at the first call (some small encodes, decodes)."""

    def __init__(self, pipeline: StepPipeline) -> None:
        self._pipeline = pipeline
        self._matrix: torch.Tensor | None = None  # [C + 1, 3], to 0..255

    def webp(self, latents: torch.Tensor, size: tuple[int, int], longest: int) -> bytes:
        """Latents [1, C, h, w] of a picture of `size` px as a WebP of at most `longest` px."""
        if self._matrix is None:
            self._matrix = self._fitted()
        colours = _columns(latents) @ self._matrix.to(latents.device)
        height, width = latents.shape[-2:]
        pixels = colours.clamp(0, 255).to(torch.uint8).reshape(height, width, 3)
        picture = Image.fromarray(pixels.cpu().numpy())
        scale = min(longest / max(size), 1.0)
        shown = (max(round(size[0] * scale), 1), max(round(size[1] * scale), 1))
        out = io.BytesIO()
        picture.resize(shown, Image.Resampling.BICUBIC).save(out, "WEBP", quality=75, method=0)
        return out.getvalue()

    def _fitted(self) -> torch.Tensor:
        """The colour matrix of this model's decoder."""
        width, height = self._pipeline.size(Recipe())
        side = min(width, height, MOST_SIDE_PX)
        draw = np.random.default_rng(0)
        rows, targets = [], []
        for cells in CELLS[:FIELDS]:
            field = draw.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
            picture = Image.fromarray(field).resize((side, side), Image.Resampling.BILINEAR)
            latents = self._pipeline.latents_of(picture)
            decoded = self._pipeline.decode(latents)
            high, wide = latents.shape[-2:]
            small = decoded.convert("RGB").resize((wide, high), Image.Resampling.BOX)
            rows.append(_columns(latents).cpu())
            targets.append(torch.from_numpy(np.asarray(small, np.float32).reshape(-1, 3).copy()))
        x, y = torch.cat(rows).double(), torch.cat(targets).double()
        square = x.T @ x
        ridge = RIDGE * torch.diag(square).mean() * torch.eye(len(square), dtype=square.dtype)
        return torch.linalg.solve(square + ridge, x.T @ y).float()


def _columns(latents: torch.Tensor) -> torch.Tensor:
    """[1, C, h, w] -> [h * w, C + 1] float32, the last column 1."""
    flat = latents[0].float().flatten(1).T
    return torch.cat([flat, flat.new_ones(len(flat), 1)], dim=1)


def clean_estimate(
    noise_scheduler: Any, told: tuple[Any, ...], prediction: Any, before: Any, timestep: Any
) -> Any:
    """The finished latents as the last model call foresaw them, [1, C, h, w].

    `told`: what the noise scheduler's step returned; `prediction`: the model's (guided) output for
    latents `before`. Many schedulers tell it; multistep solvers keep it; for the others it follows
    from the prediction (they keep the variance at 1).
    """
    if len(told) > 1:
        return told[1]
    config = noise_scheduler.config
    kept = getattr(noise_scheduler, "model_outputs", None)
    foresees = getattr(noise_scheduler, "predict_x0", "++" in str(config.get("algorithm_type", "")))
    if kept and foresees:
        return kept[-1]
    share = noise_scheduler.alphas_cumprod[int(timestep)].to(before.device)
    signal, noise = share.sqrt(), (1 - share).sqrt()
    match config.prediction_type:
        case "epsilon":
            return (before - noise * prediction) / signal.clamp(min=1e-4)
        case "v_prediction":
            return signal * before - noise * prediction
        case _:
            return prediction
