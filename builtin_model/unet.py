"""The denoiser: a stock UNet2DConditionModel on 16 x 16 x 4 latents, v-prediction."""

import time
from pathlib import Path

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import CLIPTokenizer

from builtin_model.captions import training_caption
from builtin_model.progress import Average, Deadline, Reporter, save
from builtin_model.text import WIDTH, load_text, tokens
from builtin_model.workers import Beat, run_workers

DROP_CAPTION = 0.1
NOISE = {
    "num_train_timesteps": 1000,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
}


def new_unet() -> UNet2DConditionModel:
    """A fresh denoiser of 7.6 million weights; the pooled text joins the time embedding."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(64, 96, 160),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=(2, 3, 5),
        norm_num_groups=16,
        addition_embed_type="text",
        addition_embed_type_num_heads=5,
    )


def train_unet(
    work: Path, tokenizer: CLIPTokenizer, end: float, *, size: int = 32, lr: float = 8e-4
) -> None:
    """Train until `end`, going on from a checkpoint when there is one."""
    torch.manual_seed(3)
    unet = new_unet()
    if (work / "unet.pt").exists():
        unet.load_state_dict(torch.load(work / "unet.pt")["model"])
    run_workers(_train, unet, tokenizer, work, end, size, lr)


def _train(
    beat: Beat,
    unet: UNet2DConditionModel,
    tokenizer: CLIPTokenizer,
    work: Path,
    end: float,
    size: int,
    lr: float,
) -> None:
    """Most steps go to high noise, where shapes are decided.

    Timesteps: sigmoid(N(1.1, 1.2)) x T, after Esser et al. 2024 (logit-normal sampling).
    """
    path, start, step = work / "unet.pt", time.time(), 0
    average = Average(unet, 0.998)
    optimizer = torch.optim.AdamW(
        unet.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    if path.exists():
        state = torch.load(path)
        optimizer.load_state_dict(state["optimizer"])
        average.shadow, average.steps = state["average"], state["step"]
        start, step = state["start"], state["step"]
    data = torch.load(work / "latents.pt", weights_only=False)
    latents, scenes = data["latents"], data["scenes"]
    encoder, noiser = load_text(work, tokenizer), DDPMScheduler(**NOISE)
    deadline, report = Deadline(start, end, flat=0.55), Reporter(f"unet{beat.rank}", every_s=30)
    rng = np.random.default_rng([beat.rank, 3000 + step])
    torch.manual_seed(3000 + step + 7 * beat.rank)
    while beat.tick() and not deadline.done:
        rows = rng.integers(0, len(scenes), size)
        clean = latents[torch.from_numpy(rows)].float()
        captions = [training_caption(scenes[r], rng) for r in rows]
        captions = [c if rng.random() > DROP_CAPTION else "" for c in captions]
        noise = torch.randn_like(clean)
        times = (torch.sigmoid(1.1 + 1.2 * torch.randn(size)) * 1000).long().clamp(0, 999)
        # plain attention: on a CPU the fused kernel's backward pass costs 30 % of a step
        with torch.autocast("cpu", torch.bfloat16), sdpa_kernel(SDPBackend.MATH):
            hidden = encoder(tokens(tokenizer, captions)).last_hidden_state
            out = unet(noiser.add_noise(clean, noise, times), times, hidden).sample
        loss = F.mse_loss(out.float(), noiser.get_velocity(clean, noise, times))
        for group in optimizer.param_groups:
            group["lr"] = lr * deadline.factor()
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(unet.parameters(), 1.0)
        optimizer.step()
        step += 1
        report.add(step, {"loss": loss.item(), "norm": norm.item()})
        if beat.rank == 0:
            average.update(unet)
            if report.is_save_due() or deadline.done:
                shared = {"model": unet.state_dict(), "optimizer": optimizer.state_dict()}
                save(path, average=average.shadow, step=step, start=start, **shared)


def load_unet(work: Path) -> UNet2DConditionModel:
    """The averaged weights of the last checkpoint, frozen."""
    unet = new_unet()
    unet.load_state_dict(torch.load(work / "unet.pt")["average"])
    return unet.eval().requires_grad_(False)
