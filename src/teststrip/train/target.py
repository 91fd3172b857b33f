"""The loss of each picture: how far the model's answer is from the noise (or velocity) asked for.

Min-SNR weights: Hang et al. 2023, arXiv 2303.09556; velocity: Salimans and Ho 2022, 2202.00512.
"""

import torch
from torch import Tensor

from teststrip.train.model import Trainable


def sample_losses(  # noqa: PLR0917 - what a diffusion loss is made of
    model: Trainable,
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    hidden: Tensor,
    snr_gamma: float | None = None,
) -> Tensor:
    """Mean squared error [B] in fp32 for clean `latents` and `noise` [B, C, h, w].

    `timesteps` [B]: whole numbers from 0. `hidden` [B, tokens, dim]. With `snr_gamma` each is
    weighted by min(SNR, gamma) / SNR (noise) or / (SNR + 1) (velocity).
    """
    noisy = model.noise.add_noise(latents, noise, timesteps)
    wanted = (
        noise
        if model.prediction == "epsilon"
        else model.noise.get_velocity(latents, noise, timesteps)
    )
    answer = model.predict(noisy, timesteps, hidden)
    losses = torch.nn.functional.mse_loss(answer.float(), wanted.float(), reduction="none")
    each = losses.mean(dim=(1, 2, 3))
    return each if snr_gamma is None else each * snr_weights(model, timesteps, snr_gamma)


def snr_weights(model: Trainable, timesteps: Tensor, gamma: float) -> Tensor:
    """Min-SNR weights [B]; written so that an SNR of 0 (zero-SNR schedules) gives no NaN."""
    kept = model.noise.alphas_cumprod.to(timesteps.device)[timesteps].float()
    # SNR = kept / (1 - kept), so min(SNR, g) / SNR = min(1, g (1 - kept) / kept).
    if model.prediction == "epsilon":
        return torch.clamp(gamma * (1 - kept) / kept.clamp(min=1e-12), max=1.0)
    return torch.minimum(kept, gamma * (1 - kept))
