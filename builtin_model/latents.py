"""Turn the training pictures into latents once, so that the UNet never waits for the VAE."""

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from builtin_model.objects import NAMES
from builtin_model.pictures import (
    BACKGROUNDS,
    SHIFT_PX,
    SIZES,
    STYLES,
    Scene,
    batch,
    is_held_out,
    random_scene,
)
from builtin_model.progress import save
from builtin_model.vae import load_vae, new_vae

SHIFTS = 6


@torch.no_grad()
def encode(vae: AutoencoderKL, scenes: list[Scene]) -> Tensor:
    """Latent means [N, 4, 16, 16] float32 of the rendered scenes."""
    parts = []
    for first in range(0, len(scenes), 64):
        pictures = torch.from_numpy(batch(scenes[first : first + 64]))
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(vae.encode(pictures).latent_dist.mean.float())
    return torch.cat(parts)


@torch.no_grad()
def whiten(vae: AutoencoderKL) -> None:
    """Fold mean and spread of each latent channel into the two 1x1 convolutions.

    Afterwards latents have mean 0 and deviation 1, so the folder's scaling factor is simply 1.
    """
    rng = np.random.default_rng(5)
    sample = encode(vae, [random_scene(rng, held_out=None) for _ in range(2048)])
    mean, spread = sample.mean(dim=(0, 2, 3)), sample.std(dim=(0, 2, 3))
    into, out = vae.quant_conv, vae.post_quant_conv
    out.bias += out.weight[:, :, 0, 0] @ mean
    out.weight *= spread[None, :, None, None]
    into.bias[:4] = (into.bias[:4] - mean) / spread
    into.weight[:4] /= spread[:, None, None, None]
    into.bias[4:] -= 2 * spread.log()


def cache_latents(work: Path) -> None:
    """Write vae_white.pt and latents.pt: every seen pair x style x size x some offsets."""
    vae = load_vae(work)
    whiten(vae)
    save(work / "vae_white.pt", model=vae.state_dict())
    (work / "vae_tuned.pt").unlink(missing_ok=True)
    rng = np.random.default_rng(6)
    scenes = [
        Scene(thing, background, style, size, *(int(v) for v in shift))
        for thing in range(len(NAMES))
        for background in range(len(BACKGROUNDS))
        if not is_held_out(thing, background)
        for style in range(len(STYLES))
        for size in range(len(SIZES))
        for shift in rng.integers(-SHIFT_PX, SHIFT_PX + 1, (SHIFTS, 2))
    ]
    save(work / "latents.pt", latents=encode(vae, scenes).half(), scenes=scenes)
    print(f"latents of {len(scenes)} pictures", flush=True)


def load_white_vae(work: Path) -> AutoencoderKL:
    """The frozen autoencoder whose latents have unit spread, its decoder tuned where done."""
    vae, tuned = new_vae(), work / "vae_tuned.pt"
    path = tuned if tuned.exists() else work / "vae_white.pt"
    vae.load_state_dict(torch.load(path)["model"])
    vae.register_to_config(scaling_factor=1.0)
    return vae.eval().requires_grad_(False)
