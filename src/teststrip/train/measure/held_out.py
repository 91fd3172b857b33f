"""The loss on pictures that are never trained on: the same pictures, noise and timesteps always."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from teststrip.train.config import TrainConfig
from teststrip.train.data.examples import Examples
from teststrip.train.model import Trainable
from teststrip.train.target import sample_losses

MOST_ROWS = 16


class HeldOut:
    """Measures the weights that are in the model now, adapters on, dropout off.

    Every picture of `examples` (centre crop, no flip, with its caption) is measured at
    `validation.draws` timesteps, the middles of as many equal stretches, with noise that is drawn
    from its content: the number does not depend on the order of pictures or on which others are
    held out. Plain mean squared error, whatever the training loss weighs, so that runs can be
    compared. The method is that of sd-scripts (PR 1903) and OneTrainer.
    """

    def __init__(self, model: Trainable, examples: Examples, config: TrainConfig) -> None:
        self._model = model
        self._examples = examples
        self._rows = min(MOST_ROWS, 4 * config.batch)  # no gradients: four fit where one trains
        count = int(model.noise.config.num_train_timesteps)
        draws = config.validation.draws
        self._timesteps = [int(count * (k + 0.5) / draws) for k in range(draws)]

    def measure(self, model: Trainable | None = None) -> dict[str, float]:
        """Content hash of a picture -> its mean loss over all timesteps.

        Draws nothing from any generator of the training and leaves every module's train or eval
        mode as it was.
        """
        model = self._model if model is None else model
        with torch.no_grad(), _judging(model):
            return {
                picture.sha256: self._one(model, row)
                for row, picture in enumerate(self._examples.pictures)
            }

    def _one(self, model: Trainable, row: int) -> float:
        batch = self._examples.batch([row], None)
        own = torch.Generator("cpu").manual_seed(int(self._examples.pictures[row].sha256[:15], 16))
        draws = len(self._timesteps)
        # on the CPU, so that every device sees the same noise
        drawn = torch.randn((draws + 1, *batch.mean.shape[1:]), generator=own).to(batch.mean)
        latents = (batch.mean + batch.std * drawn[:1]).expand(draws, -1, -1, -1)
        noise = drawn[1:]
        hidden = model.encode(batch.texts) if batch.hidden is None else batch.hidden
        times = torch.tensor(self._timesteps, device=latents.device)
        losses = []
        for first in range(0, draws, self._rows):
            part = slice(first, first + self._rows)
            rows = hidden.expand(len(times[part]), -1, -1)
            losses.append(sample_losses(model, latents[part], noise[part], times[part], rows))
        return float(torch.cat(losses).double().mean())


@contextmanager
def _judging(model: Trainable) -> Iterator[None]:
    """Every module in eval mode; afterwards each in its own again."""
    modules = [module for net in (model.unet, model.text_encoder) for module in net.modules()]
    modes = [module.training for module in modules]
    for module in modules:
        module.training = False
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
