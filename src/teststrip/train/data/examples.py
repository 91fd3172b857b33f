"""Examples: rows of pictures with captions -> batches of latents and hidden states."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from teststrip.errors import ConfigError
from teststrip.train.cache.latents import Latents, Wanted
from teststrip.train.cache.store import TensorStore
from teststrip.train.cache.texts import Texts
from teststrip.train.config import TrainConfig
from teststrip.train.data.picture import Picture
from teststrip.train.data.shapes import buckets, nearest_bucket, view

if TYPE_CHECKING:
    from teststrip.train.model import Trainable

OnFill = Callable[[int, int], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Rows for one step, on the model's device.

    `mean`, `std`: fp32 [B, C, h, w], in the UNet's scale; latents are mean + std * noise.
    `hidden`: [B, T, D], None where the text encoder is trained (then encode `texts`).
    `is_class`: bool [B].
    """

    mean: torch.Tensor = field(repr=False)
    std: torch.Tensor = field(repr=False)
    hidden: torch.Tensor | None = field(repr=False)
    texts: list[str]
    is_class: torch.Tensor = field(repr=False)


class Examples:
    """Pictures as training rows; row r is `pictures[r]`.

    `shapes[r]`: its size (width, height) in px; rows of one batch must share it. Raises ConfigError
    where the size asked for is none that the model can make.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        config: TrainConfig,
        model: "Trainable",
        cache_home: Path | None,
    ) -> None:
        self.pictures = tuple(pictures)
        self._data = config.data
        self._dropout = config.loss.caption_dropout
        self._device = model.device
        size = config.data.size or model.native
        if any(px % model.multiple for px in size):
            raise ConfigError(
                f"data.size {size[0]} x {size[1]}: this model takes sides that are multiples of "
                f"{model.multiple} px"
            )
        sizes = buckets(size, model.multiple) if config.data.buckets else [size]
        self.shapes = [nearest_bucket(picture, sizes) for picture in self.pictures]
        self.is_class = [picture.is_class for picture in self.pictures]
        latents, texts = (cache_home / n if cache_home else None for n in ("latents", "texts"))
        self._latents = Latents(model, TensorStore(latents) if config.cache.latents else None)
        self._texts = Texts(model, TensorStore(texts) if config.cache.texts else None)
        self._keeps = config.cache
        self._trains_text = config.lora.text_encoder
        self._warn_of_small()

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, rows: Sequence[int], rng: np.random.Generator | None) -> Batch:
        """The batch of these rows, which must have one shape.

        `rng` draws three numbers for each row (crop, flip, caption dropout), whatever the settings
        and caches are; without it: centre crop, no flip, all captions.
        """
        draws = np.ones((len(rows), 3)) if rng is None else rng.random((len(rows), 3))
        wanted: list[Wanted] = []
        texts = []
        for row, (crop, flip, drop) in zip(rows, draws, strict=True):
            number = 0 if rng is None else int(crop * self._data.crops)
            wanted.append(self._wanted(row, number, flip=self._data.flip and bool(flip < 0.5)))
            texts.append("" if drop < self._dropout else self.pictures[row].caption)
        mean, std = self._latents.of(wanted)
        hidden = None if self._trains_text else self._texts.of(texts).to(self._device)
        is_class = torch.tensor([self.is_class[row] for row in rows], dtype=torch.bool)
        return Batch(
            mean.to(self._device),
            std.to(self._device),
            hidden,
            texts,
            is_class.to(self._device),
        )

    def fill(self, on_progress: OnFill | None = None) -> None:
        """Make what the caches lack; `on_progress(done, total)` gets entries.

        Needed by nobody: a batch makes what it lacks. It keeps that out of the timed steps.
        """
        flips = (False, True) if self._data.flip else (False,)
        wanted = list(
            dict.fromkeys(
                self._wanted(row, crop, flip=flip)
                for row in range(len(self))
                for crop in range(self._data.crops)
                for flip in flips
            )
        )
        texts = list(dict.fromkeys(picture.caption for picture in self.pictures))
        texts += [""] if self._dropout else []
        wanted = wanted if self._keeps.latents else []
        texts = texts if self._keeps.texts and not self._trains_text else []
        total = len(wanted) + len(texts)

        def tell(done: int) -> None:
            if on_progress is not None:
                on_progress(done, total)

        self._latents.fill(wanted, tell)
        self._texts.fill(texts, lambda done: tell(len(wanted) + done))

    def _wanted(self, row: int, crop: int, *, flip: bool) -> Wanted:
        picture = self.pictures[row]
        return picture, view(picture, self.shapes[row], crop, flip=flip)

    def _warn_of_small(self) -> None:
        small = [
            picture.name
            for picture, (width, height) in zip(self.pictures, self.shapes, strict=True)
            if picture.width < width or picture.height < height
        ]
        if small:
            log.warning(
                "%d of %d pictures are smaller than the training size and are enlarged: %s",
                len(small),
                len(self),
                ", ".join(small[:5]) + (", ..." if len(small) > 5 else ""),
            )
