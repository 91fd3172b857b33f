"""Latents of pictures: mean and deviation, so that drawing from them stays random."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from teststrip.errors import ConfigError, ModelError
from teststrip.train.cache.store import TensorStore, key_of
from teststrip.train.data.picture import Picture
from teststrip.train.data.shapes import View, pixels

if TYPE_CHECKING:
    from teststrip.train.model import Trainable

FORMAT = 1
NAMES = ("mean", "std")
AT_ONCE = 8
Wanted = tuple[Picture, View]
Moments = tuple[torch.Tensor, torch.Tensor]


class Latents:
    """Mean and deviation by (picture, view); kept in `store` where there is one.

    On a CPU pictures go through one at a time: the last bit of a convolution may depend on its
    batch, and cached and uncached training must be the same.
    """

    def __init__(self, model: "Trainable", store: TensorStore | None) -> None:
        self._model = model
        self._store = store
        self._at_once = 1 if torch.device(model.device).type == "cpu" else AT_ONCE

    def of(self, wanted: Sequence[Wanted]) -> Moments:
        """Mean and deviation [B, C, h, w], fp32, on the CPU. All views must have one size.

        Raises ConfigError for a picture that can no longer be read, ModelError where latents are
        not finite, StorageError where they cannot be kept.
        """
        found = self._find(wanted)
        missing = list({key: row for key, row in found.items() if row[1] is None}.items())
        for at in range(0, len(missing), self._at_once):
            part = missing[at : at + self._at_once]
            made = self._make([row[0] for _, row in part])
            for (key, (row, _)), moments in zip(part, made, strict=True):
                found[key] = (row, moments)
                if self._store is not None:
                    self._store.put(key, dict(zip(NAMES, moments, strict=True)))
        rows = [found[self._key(row)][1] for row in wanted]
        means, stds = zip(*(row for row in rows if row is not None), strict=True)
        return torch.stack(means), torch.stack(stds)

    def fill(self, wanted: Sequence[Wanted], on_done: Callable[[int], None]) -> None:
        """Make what is not kept yet; `on_done` gets the number of views done, in all."""
        for number, row in enumerate(wanted, start=1):
            if self._store is None or not self._store.has(self._key(row), NAMES):
                self.of([row])
            on_done(number)

    def _find(self, wanted: Sequence[Wanted]) -> dict[str, tuple[Wanted, Moments | None]]:
        out: dict[str, tuple[Wanted, Moments | None]] = {}
        for row in wanted:
            key = self._key(row)
            kept = self._store.find(key, NAMES) if self._store is not None else None
            out[key] = (row, (kept["mean"], kept["std"]) if kept else None)
        return out

    @torch.no_grad()
    def _make(self, wanted: Sequence[Wanted]) -> list[Moments]:
        values = torch.stack([_pixels(picture, seen) for picture, seen in wanted])
        mean, std = self._model.moments(values.to(self._model.device))
        mean, std = mean.float().cpu(), std.float().cpu()
        for (picture, _), m, s in zip(wanted, mean, std, strict=True):
            if not (m.isfinite().all() and s.isfinite().all()):
                raise ModelError(
                    f"picture {picture.name}: the model gives latents that are not finite; try "
                    "precision fp32, or leave the picture out"
                )
        return list(zip(mean, std, strict=True))

    def _key(self, row: Wanted) -> str:
        picture, seen = row
        return key_of(
            FORMAT,
            picture.sha256,
            seen.scaled,
            seen.corner,
            seen.size,
            seen.flip,
            self._model.fingerprint,
            str(self._model.dtype),
        )


def _pixels(picture: Picture, seen: View) -> torch.Tensor:
    try:
        return pixels(picture.open(), seen)
    except OSError as exc:
        raise ConfigError(
            f"picture {picture.name} was readable when the run began and no longer is: {exc}"
        ) from exc
