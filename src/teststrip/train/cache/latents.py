"""Latents of pictures: mean and deviation, so that drawing from them stays random."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import torch
from PIL import Image

from teststrip.errors import ConfigError, ModelError
from teststrip.train.cache.store import TensorStore, key_of
from teststrip.train.data.picture import Picture, quiet_reading
from teststrip.train.data.shapes import View, cut, scale

if TYPE_CHECKING:
    from teststrip.train.model import Trainable

FORMAT = 1
NAMES = ("mean", "std")
AT_ONCE = 8
THREADS = 4
Wanted = tuple[Picture, View]
Moments = tuple[torch.Tensor, torch.Tensor]


class Latents:
    """Mean and deviation by (picture, view); kept in `store` where there is one.

    On a CPU pictures go through the model one at a time: the last bit of a convolution may depend
    on its batch, and training must be the same with and without the cache.
    """

    def __init__(self, model: "Trainable", store: TensorStore | None) -> None:
        self._model = model
        self._store = store
        self._at_once = 1 if torch.device(model.device).type == "cpu" else AT_ONCE
        # The last pictures in training size: other crops and flips of them come right after.
        self._scaled: dict[str, Image.Image] = {}

    def of(self, wanted: Sequence[Wanted]) -> Moments:
        """Mean and deviation [B, C, h, w], fp32, on the CPU. All views must have one size.

        Raises ConfigError for a picture that can no longer be read, ModelError where latents are
        not finite.
        """
        keys = [self._key(row) for row in wanted]
        found = {key: kept for key in keys if (kept := self._find(key)) is not None}
        missing = {k: row for k, row in zip(keys, wanted, strict=True) if k not in found}
        for at in range(0, len(missing), self._at_once):
            part = list(missing)[at : at + self._at_once]
            for key, moments in zip(part, self._make([missing[k] for k in part]), strict=True):
                found[key] = moments
                if self._store is not None:
                    self._store.put(key, dict(zip(NAMES, moments, strict=True)))
        return (
            torch.stack([found[key][0] for key in keys]),
            torch.stack([found[key][1] for key in keys]),
        )

    def fill(self, wanted: Sequence[Wanted], on_done: Callable[[int], None]) -> None:
        """Make what is not kept yet; `on_done` gets the number of views done so far."""
        part: list[Wanted] = []
        for number, row in enumerate(wanted, start=1):
            if self._store is None or not self._store.has(self._key(row)):
                part.append(row)
            following = wanted[number] if number < len(wanted) else None
            ends = following is None or following[1].size != row[1].size
            if part and (ends or len(part) == self._at_once):
                self.of(part)
                part = []
            if not part:
                on_done(number)
        self._scaled = {}

    def _find(self, key: str) -> Moments | None:
        kept = self._store.find(key, NAMES) if self._store is not None else None
        return (kept["mean"], kept["std"]) if kept is not None else None

    @torch.no_grad()
    def _make(self, wanted: Sequence[Wanted]) -> list[Moments]:
        different = {picture.sha256: (picture, seen) for picture, seen in wanted}
        fresh = [row for sha256, row in different.items() if sha256 not in self._scaled]
        with quiet_reading(), ThreadPoolExecutor(THREADS) as threads:
            opened = list(threads.map(_open, fresh))
        kept = {sha256: self._scaled[sha256] for sha256 in different if sha256 in self._scaled}
        self._scaled = kept | {p.sha256: i for (p, _), i in zip(fresh, opened, strict=True)}
        values = torch.stack([cut(self._scaled[picture.sha256], seen) for picture, seen in wanted])
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
        place = (seen.scaled, seen.corner, seen.size, seen.flip)
        return key_of(
            FORMAT, picture.sha256, place, self._model.fingerprint, str(self._model.dtype)
        )


def _open(row: Wanted) -> Image.Image:
    """The picture in the size that its view is cut from."""
    picture, seen = row
    try:
        return scale(picture.open(), seen)
    except OSError as exc:
        raise ConfigError(
            f"picture {picture.name} was readable when the run began and no longer is: {exc}"
        ) from exc
