"""Likeness to the held-out pictures, nearness to the training pictures, and diversity.

Each validation image is embedded once for all three. The numbers are those of the scorers
`likeness` and `nearest`; those compute one image of a study at a time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from teststrip.records import Generation
from teststrip.score.clip_model import ClipOptions, ClipTowers
from teststrip.score.likeness import column
from teststrip.score.model_folder import open_folder
from teststrip.score.references import embed, set_label
from teststrip.train.config import TrainConfig
from teststrip.train.data.picture import Picture
from teststrip.train.measure.diversity import diversity

NEAREST_PICTURE = "nearest_picture"


class Closeness:
    """CLIP's view of images beside the run's own pictures.

    `likeness:...` mean cosine to the held-out pictures (higher is better; without any it is left
    out), `nearest:...` cosine to the nearest training picture (lower is better), `diversity:...`
    mean distance to the other images of the same prompt (higher is better).
    """

    def __init__(
        self,
        train: Sequence[Picture],
        held_out: Sequence[Picture],
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._options = ClipOptions(**(options or {}))
        self._train = _unique(train)
        self._held_out = _unique(held_out)
        folder = open_folder(self._options.model, self._options.revision)
        self._label, self._name = folder.label, folder.name
        self._towers: ClipTowers | None = None
        self._train_vectors: Tensor | None = None
        self._held_out_vectors: Tensor | None = None

    @property
    def columns(self) -> dict[str, bool]:
        """Column name -> is higher better?"""
        found = {}
        if self._held_out:
            found[self._column("likeness", self._held_out)] = True
        if self._train:
            found[self._column("nearest", self._train)] = False
        return found | {f"diversity:{self._name}@{set_label(self._label, ())}": True}

    def judge(self, images: Sequence[Generation]) -> list[dict[str, Any]]:
        """All images of one checkpoint -> a row of columns for each, and `nearest_picture`, the
        content hash of that training picture. NaN for images that cannot be decoded."""
        towers = self._open()
        rows: list[dict[str, Any]] = [dict.fromkeys(self.columns, float("nan")) for _ in images]
        vectors = dict(towers.embed_generations(images))
        for k, vector in vectors.items():
            rows[k][NEAREST_PICTURE] = None
            if self._held_out_vectors is not None:
                likeness = float((self._held_out_vectors @ vector).mean())
                rows[k][self._column("likeness", self._held_out)] = likeness
            if self._train_vectors is not None:
                cosines = self._train_vectors @ vector
                nearest = int(cosines.argmax())
                rows[k][self._column("nearest", self._train)] = float(cosines[nearest])
                rows[k][NEAREST_PICTURE] = self._train[nearest].sha256
        name = list(self.columns)[-1]
        prompts = [images[k].request.block.prompt for k in vectors]
        if vectors:
            units = torch.stack(list(vectors.values())).double().cpu().numpy()
            for k, value in zip(vectors, diversity(units, prompts), strict=True):
                rows[k][name] = value
        return rows

    def _open(self) -> ClipTowers:
        if self._towers is None:
            self._towers = ClipTowers.open(self._options)
            self._train_vectors = _vectors(self._towers, self._train)
            self._held_out_vectors = _vectors(self._towers, self._held_out)
        return self._towers

    def _column(self, kind: str, pictures: Sequence[Picture]) -> str:
        return column(kind, self._name, set_label(self._label, [p.sha256 for p in pictures]))


def _unique(pictures: Sequence[Picture]) -> list[Picture]:
    return list({p.sha256: p for p in pictures if not p.is_class}.values())


def _vectors(towers: ClipTowers, pictures: Sequence[Picture]) -> Tensor | None:
    """float32 [N, D]; a few pictures in memory at a time."""
    size = towers.batch_size
    parts = [
        embed(towers, [np.asarray(p.open()) for p in pictures[first : first + size]])
        for first in range(0, len(pictures), size)
    ]
    return torch.cat(parts) if parts else None


def clip_options(config: TrainConfig) -> dict[str, Any]:
    """Options of the run's own `clip` scorer, so that all look with the same eyes."""
    return next((dict(s.options) for s in config.validation.scorers if s.name == "clip"), {})
