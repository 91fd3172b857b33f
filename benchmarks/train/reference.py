"""diffusers' example scripts, rewritten to the same computation: what we are timed against.

`train_text_to_image_lora.py` and `train_dreambooth_lora.py` of diffusers 0.42, without command
line, hub, trackers and validation. Kept: peft adapters with gaussian start, pictures opened, cut
and cropped for each batch, captions tokenised for each batch, the VAE and the text encoder run in
every step, `accelerator.accumulate` / `gather` / `backward` / `clip_grad_norm_`, AdamW and the
schedule object. torchvision is not needed: its Resize (bilinear), CenterCrop, ToTensor and
Normalize(0.5, 0.5) are done in PIL and numpy.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from peft import LoraConfig
from PIL import Image
from PIL.ImageOps import exif_transpose
from torch.utils.data import DataLoader, Dataset
from transformers import AutoTokenizer, CLIPTextModel


@dataclass(frozen=True)
class Settings:
    """What both sides share. `class_folder`: prior preservation with pictures from there."""

    model: Path
    pictures: Path
    steps: int
    batch: int = 4
    rank: int = 8
    lr: float = 1e-3
    seed: int = 0
    size: int = 64
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    class_folder: Path | None = None
    instance_prompt: str = ""
    class_prompt: str = ""
    prior_weight: float = 1.0


@dataclass
class Trained:
    """The loss of each step, and the UNet with its adapter."""

    losses: list[float] = field(default_factory=list)
    unet: Any = None


def to_pixels(image: Image.Image, size: int) -> torch.Tensor:
    """Resize the short side to `size` (bilinear), crop the centre, [3, size, size] in -1..1."""
    scale = size / min(image.size)
    wide, high = (round(side * scale) for side in image.size)
    left, top = (wide - size) // 2, (high - size) // 2
    image = image.resize((wide, high), Image.Resampling.BILINEAR)
    image = image.crop((left, top, left + size, top + size))
    pixels = torch.from_numpy(np.array(image, np.float32) / 255).permute(2, 0, 1)
    return (pixels - 0.5) / 0.5


class Captioned(Dataset[dict[str, Any]]):
    """Text-to-image: a folder with metadata.jsonl, transformed at every access."""

    def __init__(self, settings: Settings, tokenizer: Any) -> None:
        lines = (settings.pictures / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
        self.rows = [json.loads(line) for line in lines]
        self.settings, self.tokenizer = settings, tokenizer

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        with Image.open(self.settings.pictures / row["file_name"]) as file:
            image = file.convert("RGB")
        ids = tokenise(self.tokenizer, row["text"])
        return {"pixels": [to_pixels(image, self.settings.size)], "ids": [ids]}


class Subject(Dataset[dict[str, Any]]):
    """DreamBooth: every item is an instance picture and, with prior preservation, a class one."""

    def __init__(self, settings: Settings, tokenizer: Any) -> None:
        self.instance = sorted(settings.pictures.glob("*.png"))
        folder = settings.class_folder
        self.classes = sorted(folder.glob("*.png")) if folder else []
        self.settings, self.tokenizer = settings, tokenizer

    def __len__(self) -> int:
        return max(len(self.instance), len(self.classes))

    def __getitem__(self, index: int) -> dict[str, Any]:
        paths = [(self.instance[index % len(self.instance)], self.settings.instance_prompt)]
        if self.classes:
            paths.append((self.classes[index % len(self.classes)], self.settings.class_prompt))
        images = []
        for path, _ in paths:
            with Image.open(path) as file:
                images.append(exif_transpose(file).convert("RGB"))
        return {
            "pixels": [to_pixels(image, self.settings.size) for image in images],
            "ids": [tokenise(self.tokenizer, prompt) for _, prompt in paths],
        }


def tokenise(tokenizer: Any, text: str) -> torch.Tensor:
    """Token numbers [tokens], padded to the model's length."""
    found = tokenizer(
        text,
        max_length=tokenizer.model_max_length,
        padding="max_length",
        truncation=True,
        return_tensors="pt",
    )
    return torch.as_tensor(found.input_ids[0])


def collate(examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Instance rows first, then class rows, so that one forward does both."""
    parts = range(len(examples[0]["pixels"]))
    return {
        "pixels": torch.stack([e["pixels"][p] for p in parts for e in examples]).float(),
        "ids": torch.stack([e["ids"][p] for p in parts for e in examples]),
    }


def train(settings: Settings, after_step: Callable[[int], None] | None = None) -> Trained:
    """Run the script's loop; `after_step` is called with the number of steps done."""
    torch.manual_seed(settings.seed)
    accelerator = Accelerator(cpu=settings.device == "cpu")
    device, dtype, folder = accelerator.device, settings.dtype, str(settings.model)
    noise_scheduler = DDPMScheduler.from_pretrained(folder, subfolder="scheduler")
    tokenizer = AutoTokenizer.from_pretrained(folder, subfolder="tokenizer")
    text_encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder")
    vae = AutoencoderKL.from_pretrained(folder, subfolder="vae")
    unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet")
    for module in (unet, vae, text_encoder):
        module.requires_grad_(False)
        module.to(device, dtype=dtype)
    unet.add_adapter(
        LoraConfig(
            r=settings.rank,
            lora_alpha=settings.rank,
            init_lora_weights="gaussian",
            target_modules=["to_k", "to_q", "to_v", "to_out.0"],
        )
    )
    parameters = [p for p in unet.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.data = parameter.data.float()
    optimizer = torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=1e-2)
    with_prior = settings.class_folder is not None
    kind = Subject if settings.instance_prompt else Captioned
    loader = DataLoader(
        kind(settings, tokenizer), batch_size=settings.batch, shuffle=True, collate_fn=collate
    )
    schedule = get_scheduler("constant", optimizer=optimizer, num_training_steps=settings.steps)
    unet, optimizer, loader, schedule = accelerator.prepare(unet, optimizer, loader, schedule)
    done = Trained(unet=accelerator.unwrap_model(unet))
    while True:
        unet.train()
        for batch in loader:
            with (
                accelerator.accumulate(unet),
                torch.autocast(device.type, dtype, enabled=dtype != torch.float32),
            ):
                latents = vae.encode(batch["pixels"].to(dtype=dtype)).latent_dist.sample()
                latents = latents * vae.config.scaling_factor
                noise = torch.randn_like(latents)
                timesteps = torch.randint(
                    0, noise_scheduler.config.num_train_timesteps, (len(latents),), device=device
                ).long()
                noisy = noise_scheduler.add_noise(latents, noise, timesteps)
                hidden = text_encoder(batch["ids"], return_dict=False)[0]
                if noise_scheduler.config.prediction_type == "epsilon":
                    target = noise
                else:
                    target = noise_scheduler.get_velocity(latents, noise, timesteps)
                predicted = unet(noisy, timesteps, hidden, return_dict=False)[0]
                if with_prior:
                    predicted, predicted_prior = torch.chunk(predicted, 2, dim=0)
                    target, target_prior = torch.chunk(target, 2, dim=0)
                    loss = F.mse_loss(predicted.float(), target.float())
                    prior = F.mse_loss(predicted_prior.float(), target_prior.float())
                    loss = loss + settings.prior_weight * prior
                else:
                    loss = F.mse_loss(predicted.float(), target.float())
                average = accelerator.gather(loss.repeat(settings.batch)).mean()
                done.losses.append(average.item())
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
            if after_step is not None:
                after_step(len(done.losses))
            if len(done.losses) >= settings.steps:
                return done
