"""Moving average of the trained weights, which is what a checkpoint holds where it is on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from teststrip.train.adapters import Weights


class Ema:
    """One averaged copy per part. `decay` is reached slowly: (1 + n) / (10 + n) at update n.

    Without that warm-up a short run would mostly average its starting point (as in diffusers'
    EMAModel).
    """

    def __init__(self, weights: Sequence[Weights], decay: float) -> None:
        self._weights = weights
        self._decay = decay
        self.updates = 0
        self.flats = [w.flat.detach().clone() for w in weights]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after an optimizer step."""
        self.updates += 1
        decay = min(self._decay, (1 + self.updates) / (10 + self.updates))
        for mean, own in zip(self.flats, self._weights, strict=True):
            mean.lerp_(own.flat.detach(), 1 - decay)

    def load(self, flats: Sequence[Tensor], updates: int) -> None:
        """Go on from a saved state."""
        self.updates = updates
        for mean, kept in zip(self.flats, flats, strict=True):
            mean.copy_(kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The averaged weights in the model, for measuring and saving; then the raw ones again."""
        raw = [w.flat.detach().clone() for w in self._weights]
        self._put(self.flats)
        try:
            yield
        finally:
            self._put(raw)

    @torch.no_grad()
    def _put(self, flats: Sequence[Tensor]) -> None:
        for own, values in zip(self._weights, flats, strict=True):
            own.flat.copy_(values)
            own.publish()
