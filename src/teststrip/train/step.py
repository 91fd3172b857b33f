"""One micro-batch: its random draws, its loss; and the gradient that several of them leave."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from teststrip.train.adapters import Weights
from teststrip.train.config import TrainConfig
from teststrip.train.model import Trainable
from teststrip.train.processes import Processes
from teststrip.train.target import sample_losses

if TYPE_CHECKING:
    from teststrip.train.data.examples import Batch, Examples

DRAWS = 3  # in the seed, beside those of batches.py


def micro_step(
    config: TrainConfig,
    model: Trainable,
    examples: "Examples",
    groups: Sequence[Sequence[int]],
    number: int,
) -> Tensor:
    """The loss of micro-batch `number`, a scalar with gradient.

    `groups`: rows of one shape each. Everything random is drawn on the CPU from (seed, number), so
    that it is the same on every device, cached or not, and after resuming.
    """
    rng = np.random.default_rng([DRAWS, config.seed, number])
    own = torch.Generator().manual_seed(int(rng.integers(2**62)))
    if config.lora.dropout:
        torch.manual_seed(int(rng.integers(2**62)))
    losses = [_group_loss(config, model, examples.batch(rows, rng), own) for rows in groups]
    return losses[0] if len(losses) == 1 else losses[0] + losses[1]


def finish_gradient(weights: Sequence[Weights], processes: Processes, scale: float) -> Tensor:
    """Mean gradient over processes, unscaled, in place; returns its norm (not waited for)."""
    for each in weights:
        processes.mean_(each.flat.grad)
        if scale != 1.0:
            each.flat.grad.div_(scale)
    norms = [torch.linalg.vector_norm(each.flat.grad) for each in weights]
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))


def _group_loss(
    config: TrainConfig, model: Trainable, batch: "Batch", own: torch.Generator
) -> Tensor:
    """Mean over the pictures, and prior_weight times the mean over those of the class."""
    drawn = [_normal(batch.mean.shape, own, model.device) for _ in range(2)]
    latents = torch.addcmul(batch.mean, batch.std, drawn[0])
    noise = drawn[1]
    if config.loss.noise_offset:
        offset = _normal((*batch.mean.shape[:2], 1, 1), own, model.device)
        noise = noise + config.loss.noise_offset * offset
    steps = int(model.noise.config.num_train_timesteps)
    timesteps = torch.randint(0, steps, (len(latents),), generator=own).to(model.device)
    hidden = model.encode(batch.texts) if batch.hidden is None else batch.hidden
    losses = sample_losses(model, latents, noise, timesteps, hidden, config.loss.snr_gamma)
    prior = config.subject.prior_weight if config.subject else None
    if prior is None:
        return losses.mean()
    # Instance and class rows are `batch` each, whether they came together or not.
    return (losses * torch.where(batch.is_class, prior, 1.0)).sum() / config.batch


def _normal(shape: Sequence[int], own: torch.Generator, device: torch.device) -> Tensor:
    return torch.randn(tuple(shape), generator=own).to(device, non_blocking=True)
