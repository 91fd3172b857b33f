"""Last polish of the VAE's decoder: bear the small errors that sampled latents have.

The encoder stays as it is (the cached latents and the UNet depend on it); the decoder learns to
turn latents with a little noise into the clean picture.
"""

import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from builtin_model.latents import load_white_vae
from builtin_model.pictures import batch
from builtin_model.progress import Average, Deadline, Reporter, save
from builtin_model.vae import picture_loss, psnr_db

NOISE = 0.12


def train_decoder(work: Path, end: float, *, size: int = 16, lr: float = 8e-4) -> None:
    """Tune decoder and post_quant_conv until `end`; writes vae_tuned.pt beside vae_white.pt."""
    torch.manual_seed(8)
    rng = np.random.default_rng(8)
    vae = load_white_vae(work)
    parameters = [*vae.decoder.parameters(), *vae.post_quant_conv.parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=lr, betas=(0.9, 0.99), fused=True)
    data = torch.load(work / "latents.pt", weights_only=False)
    latents, scenes = data["latents"], data["scenes"]
    average, report, step = Average(vae, 0.995), Reporter("decoder"), 0
    deadline = Deadline(time.time(), end, flat=0.3, warm_up_s=10)
    while not deadline.done:
        rows = rng.integers(0, len(scenes), size)
        want = torch.from_numpy(batch([scenes[r] for r in rows]))
        noise = NOISE * torch.rand(size, 1, 1, 1) * torch.randn(size, 4, 16, 16)
        with torch.autocast("cpu", torch.bfloat16):
            out = vae.decode(latents[torch.from_numpy(rows)].float() + noise).sample
        loss = picture_loss(out.float(), want)
        for group in optimizer.param_groups:
            group["lr"] = lr * deadline.factor()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        average.update(vae)
        step += 1
        mse = float(F.mse_loss(out.detach().float(), want)) / 4
        report.add(step, {"loss": loss.item(), "db": -10 * np.log10(mse)})
    vae.load_state_dict(average.shadow)
    save(work / "vae_tuned.pt", model=average.shadow)
    print(f"decoder {step} steps, PSNR {psnr_db(vae):.2f} dB", flush=True)
