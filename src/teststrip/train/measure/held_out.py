"""The loss on pictures that are never trained on: the same pictures, noise and timesteps always."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from teststrip.train.config import TrainConfig

MOST_ROWS = 16


class HeldOut:
    """Measures the weights that are in the model now, adapters on, dropout off.

    `examples`: the held-out pictures, read with `plain(config)` (centre crop, no flip, no dropped
    captions). Every picture is measured at `validation.draws` timesteps, the middles of as many
    equal stretches, with noise of its own that is drawn from its content: the number does not
    depend on batch size, on the order of pictures, or on which others are held out. Plain mean
    squared error, whatever the training loss weighs, so that runs can be compared.
    """

    def __init__(self, model: Any, examples: Any, config: TrainConfig) -> None:
        self._model = model
        self._examples = examples
        self._rows = min(MOST_ROWS, 4 * config.batch)
        count = int(model.noise.config.num_train_timesteps)
        draws = config.validation.draws
        self._timesteps = [int(count * (k + 0.5) / draws) for k in range(draws)]

    def measure(self, model: Any | None = None) -> dict[str, float]:
        """Content hash of a picture -> its mean loss over all timesteps.

        Draws nothing from any generator of the training and leaves train or eval mode as it was.
        """
        model = self._model if model is None else model
        with torch.no_grad(), _judging(model):
            return {
                picture.sha256: self._one(model, row)
                for row, picture in enumerate(self._examples.pictures)
            }

    def _one(self, model: Any, row: int) -> float:
        batch = self._examples.batch([row], np.random.default_rng(0))
        own = torch.Generator("cpu").manual_seed(int(self._examples.pictures[row].sha256[:15], 16))
        draws = len(self._timesteps)
        shape = (draws + 1, *batch.mean.shape[1:])
        drawn = torch.randn(shape, generator=own).to(batch.mean.device)
        latents = (batch.mean + batch.std * drawn[:1]).expand(draws, -1, -1, -1)
        noise = drawn[1:]
        hidden = model.encode(batch.texts) if batch.hidden is None else batch.hidden
        times = torch.tensor(self._timesteps, device=latents.device)
        losses = [
            _losses(model, latents[part], noise[part], times[part], hidden)
            for part in _parts(draws, self._rows)
        ]
        return float(torch.cat(losses).double().mean())


def plain(config: TrainConfig) -> TrainConfig:
    """The config that held-out pictures are read with: centre crop, no flip, every caption."""
    data = config.data.model_copy(update={"crops": 1, "flip": False})
    loss = config.loss.model_copy(update={"caption_dropout": 0.0})
    return config.model_copy(update={"data": data, "loss": loss})


def _losses(model: Any, latents: Tensor, noise: Tensor, times: Tensor, hidden: Tensor) -> Tensor:
    noisy = model.noise.add_noise(latents, noise, times)
    target = noise
    if model.prediction == "v_prediction":
        target = model.noise.get_velocity(latents, noise, times)
    hidden = hidden.expand(len(latents), -1, -1)
    predicted = model.predict(noisy, times, hidden)
    return F.mse_loss(predicted.float(), target.float(), reduction="none").mean(dim=(1, 2, 3))


def _parts(count: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


@contextmanager
def _judging(model: Any) -> Iterator[None]:
    modules = [
        m for net in (model.unet, model.text_encoder) if net is not None for m in net.modules()
    ]
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
