"""The autoencoder: 64 x 64 pictures to 16 x 16 x 4 latents and back (stock AutoencoderKL)."""

import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F

from builtin_model.pictures import batch, random_scene
from builtin_model.progress import Average, Deadline, Reporter, save
from builtin_model.workers import Beat, run_workers

KL_WEIGHT = 1e-3
"""Per latent element; large enough that the decoder learns to bear a little latent noise."""
SCALE_WEIGHT = 0.25
"""Half-size latents should decode to the half-size picture (Skorokhodov et al. 2025): smoother
latents are easier for a small UNet."""


def new_vae() -> AutoencoderKL:
    """A fresh autoencoder of 1.6 million weights."""
    return AutoencoderKL(
        block_out_channels=(32, 64, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        mid_block_add_attention=False,
        sample_size=64,
    )


def picture_loss(out: Tensor, want: Tensor) -> Tensor:
    """L1 on pixels, on edges (finite differences) and on the 2x and 4x smaller pictures."""
    loss = F.l1_loss(out, want)
    for axis in (2, 3):
        loss = loss + 0.5 * F.l1_loss(out.diff(dim=axis), want.diff(dim=axis))
    for factor in (2, 4):
        loss = loss + 0.5 * F.l1_loss(F.avg_pool2d(out, factor), F.avg_pool2d(want, factor))
    return loss + F.mse_loss(out, want)


def psnr_db(vae: AutoencoderKL, count: int = 128) -> float:
    """Peak signal-to-noise ratio of reconstructed held-out pictures, mean over pictures."""
    rng = np.random.default_rng(99)
    want = torch.from_numpy(batch([random_scene(rng, held_out=True) for _ in range(count)]))
    with torch.no_grad():
        out = vae.decode(vae.encode(want).latent_dist.mode()).sample.clamp(-1, 1)
    error = ((out - want) / 2).square().mean(dim=(1, 2, 3))
    return float((-10 * torch.log10(error)).mean())


def train_vae(work: Path, end: float, *, size: int = 16, lr: float = 1e-3) -> None:
    """Train until `end` (Unix seconds), going on from a checkpoint when there is one."""
    vae = new_vae()
    if (work / "vae.pt").exists():
        vae.load_state_dict(torch.load(work / "vae.pt")["model"])
    run_workers(_train, vae, work, end, size, lr)
    print(f"vae PSNR {psnr_db(load_vae(work)):.2f} dB", flush=True)


def _train(beat: Beat, vae: AutoencoderKL, work: Path, end: float, size: int, lr: float) -> None:
    path, start, step = work / "vae.pt", time.time(), 0
    average = Average(vae, 0.998)
    optimizer = torch.optim.AdamW(
        vae.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=1e-3, fused=True
    )
    if path.exists():
        state = torch.load(path)
        optimizer.load_state_dict(state["optimizer"])
        average.shadow, average.steps = state["average"], state["step"]
        start, step = state["start"], state["step"]
    deadline, report = Deadline(start, end), Reporter(f"vae{beat.rank}")
    rng = np.random.default_rng([beat.rank, 1000 + step])
    torch.manual_seed(1000 + step + beat.rank)
    while beat.tick() and not deadline.done:
        for group in optimizer.param_groups:
            group["lr"] = lr * deadline.factor()
        want = torch.from_numpy(batch([random_scene(rng, held_out=None) for _ in range(size)]))
        with torch.autocast("cpu", torch.bfloat16):
            latent = vae.encode(want).latent_dist
            sample = latent.sample()
            out = vae.decode(sample).sample
            half = vae.decode(F.avg_pool2d(sample[: size // 2], 2)).sample
        kl = latent.kl().mean() / latent.mean[0].numel()
        loss = picture_loss(out.float(), want) + KL_WEIGHT * kl
        loss = loss + SCALE_WEIGHT * F.l1_loss(half.float(), F.avg_pool2d(want[: size // 2], 2))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        mse = float(F.mse_loss(out.detach().float(), want)) / 4
        report.add(step, {"loss": loss.item(), "kl": kl.item(), "db": -10 * np.log10(mse)})
        if beat.rank == 0:
            average.update(vae)
            if report.is_save_due() or deadline.done:
                shared = {"model": vae.state_dict(), "optimizer": optimizer.state_dict()}
                save(path, average=average.shadow, step=step, start=start, **shared)


def load_vae(work: Path) -> AutoencoderKL:
    """The averaged weights of the last checkpoint, frozen, with its latent scale set."""
    vae = new_vae()
    vae.load_state_dict(torch.load(work / "vae.pt")["average"])
    return vae.eval().requires_grad_(False)
