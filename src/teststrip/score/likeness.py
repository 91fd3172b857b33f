"""How like some reference pictures a picture is, and whether it is a copy of one of them."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from teststrip.config import parse
from teststrip.records import Generation
from teststrip.score.clip_model import ClipOptions, ClipTowers
from teststrip.score.model_folder import open_folder
from teststrip.score.references import Reference, Split, embed, references, set_label


class ReferenceOptions(ClipOptions):
    """ClipOptions and which pictures: those below `folder`; with a training run's `manifest` only
    the ones of its `split`."""

    folder: str
    manifest: str | None = None
    split: Split | None = None


class LikenessScorer:
    """Mean cosine to all reference pictures under CLIP, -1 to 1; higher is more like them.

    Column: `likeness:<model>@<hash of the set>`, so that numbers against two sets never end up in
    one average. Pictures are looked for when the scorer is made, the model is loaded at the first
    score. Raises ConfigError, ModelError.
    """

    kind = "likeness"
    higher_is_better = True

    def __init__(self, **options: Any) -> None:
        self.options = parse(ReferenceOptions, options, f"scorer {self.kind}")
        self._folder = open_folder(self.options.model, self.options.revision)
        manifest = Path(self.options.manifest) if self.options.manifest else None
        self._references: list[Reference] = references(
            Path(self.options.folder).expanduser(), manifest, self.options.split
        )

    @cached_property
    def column(self) -> str:
        """The one column."""
        hashes = [reference.sha256 for reference in self._references]
        return column(self.kind, self._folder.name, set_label(self._folder.label, hashes))

    @property
    def columns(self) -> Mapping[str, bool]:
        """Column name -> is higher better?"""
        return {self.column: self.higher_is_better}

    @cached_property
    def towers(self) -> ClipTowers:
        """The loaded model."""
        names = ClipOptions.model_fields
        return ClipTowers.open(ClipOptions(**self.options.model_dump(include=set(names))))

    @cached_property
    def vectors(self) -> Tensor:
        """The references' own, float32 [N, D]."""
        size = self.towers.batch_size
        parts = [
            embed(self.towers, [r.pixels() for r in self._references[k : k + size]])
            for k in range(0, len(self._references), size)
        ]
        return torch.cat(parts)

    def score(self, generations: Sequence[Generation]) -> list[dict[str, float]]:
        """Judge a batch; NaN for pictures that cannot be decoded."""
        scores = [{self.column: float("nan")} for _ in generations]
        for index, picture in self.towers.embed_generations(generations):
            scores[index][self.column] = self.judge(self.vectors @ picture)
        return scores

    def judge(self, cosines: Tensor) -> float:
        """Of the cosines to all references [N]."""
        return float(cosines.mean())


class NearestScorer(LikenessScorer):
    """Cosine to the nearest reference picture; lower is better: less of a copy.

    Against the pictures a model was trained on this shows memorisation. What a harmless value is
    depends on the pictures: compare with the base model, which has seen none of them.
    """

    kind = "nearest"
    higher_is_better = False

    def judge(self, cosines: Tensor) -> float:
        """Of the cosines to all references [N]."""
        return float(cosines.max())


def column(kind: str, model: str, label: str) -> str:
    """`likeness:clip_small@1a2b3c4d`."""
    return f"{kind}:{model}@{label}"
