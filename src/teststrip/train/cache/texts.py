"""Hidden states of captions, computed once."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from teststrip.train.cache.store import TensorStore, key_of

if TYPE_CHECKING:
    from teststrip.train.model import Trainable

FORMAT = 1
NAMES = ("hidden",)


class Texts:
    """Hidden states by caption; kept in `store` where there is one.

    Captions go through one at a time, so that a caption's numbers do not depend on its neighbours.
    """

    def __init__(self, model: "Trainable", store: TensorStore | None) -> None:
        self._model = model
        self._store = store

    def of(self, texts: Sequence[str]) -> torch.Tensor:
        """Hidden states [B, T, D], in the model's dtype, on the CPU."""
        each = {text: self._one(text) for text in dict.fromkeys(texts)}
        return torch.stack([each[text] for text in texts])

    def fill(self, texts: Sequence[str], on_done: Callable[[int], None]) -> None:
        """Make what is not kept yet; `on_done` gets the number of captions done, in all."""
        for number, text in enumerate(texts, start=1):
            self._one(text)
            on_done(number)

    @torch.no_grad()
    def _one(self, text: str) -> torch.Tensor:
        key = key_of(FORMAT, text, self._model.fingerprint, str(self._model.dtype))
        kept = self._store.find(key, NAMES) if self._store is not None else None
        if kept is not None:
            return kept["hidden"]
        hidden = self._model.encode([text])[0].detach().cpu()
        if self._store is not None:
            self._store.put(key, {"hidden": hidden})
        return hidden
