"""A training run in miniature, for tests: pictures of a folder, an adapter, some steps."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from teststrip.train.config import TrainConfig
from teststrip.train.data.examples import Examples
from teststrip.train.data.picture import Picture
from teststrip.train.model import open_model
from teststrip.train.target import sample_losses

HELD_OUT = 3


def read_pictures(folder: Path) -> list[Picture]:
    """The PNGs of a folder, by name; each has a caption of its own."""

    def one(path: Path) -> Picture:
        data = path.read_bytes()
        with Image.open(path) as image:
            size = image.size
        sha256 = hashlib.sha256(data).hexdigest()
        return Picture(path.name, f"drawing {path.stem}", sha256, *size, read=lambda: data)

    return [one(path) for path in sorted(folder.glob("*.png"))]


def opened(config: TrainConfig, folder: Path) -> tuple[Any, Examples, Examples]:
    """The model, the examples to train on, and those held out."""
    model = open_model(config, "cpu")
    pictures = read_pictures(folder)
    train = Examples(pictures[HELD_OUT:], config, model, None)
    return model, train, Examples(pictures[:HELD_OUT], config, model, None)


def add_lora(model: Any, config: TrainConfig, *, dropout: float = 0.0) -> list[Any]:
    """An adapter on the UNet that does something; its trainable weights."""
    from peft import LoraConfig

    torch.manual_seed(1)
    model.unet.add_adapter(
        LoraConfig(
            r=config.lora.rank, target_modules=list(config.lora.targets), lora_dropout=dropout
        )
    )
    found = [p for p in model.unet.parameters() if p.requires_grad]
    for parameter in found:
        torch.nn.init.normal_(parameter, std=0.1)
    return found


def lora_weights(model: Any) -> dict[str, Tensor]:
    """As diffusers saves them."""
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft.utils import get_peft_model_state_dict

    state = convert_state_dict_to_diffusers(get_peft_model_state_dict(model.unet))
    return {f"unet.{key}": value for key, value in state.items()}


def train(
    model: Any,
    examples: Examples,
    weights: Sequence[Any],
    steps: int,
    after: Callable[[int], object] = lambda step: None,
) -> Tensor:
    """A few steps that draw from torch's and numpy's global generators; the weights they end in."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(weights, lr=1e-2)
    model.unet.train()
    for step in range(1, steps + 1):
        rows = rng.choice(len(examples), 2, replace=False).tolist()
        batch = examples.batch(rows, rng)
        noise = torch.randn_like(batch.mean)
        times = torch.randint(0, 1000, (2,))
        sample_losses(model, batch.mean, noise, times, batch.hidden).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        after(step)
    return torch.cat([weight.detach().flatten() for weight in weights])
