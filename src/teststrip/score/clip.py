"""CLIP score: how well a picture fits its prompt (Hessel et al. 2021, arXiv 2104.08718)."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch

from teststrip.config import parse
from teststrip.records import Generation
from teststrip.score.clip_model import ClipOptions, ClipTowers
from teststrip.score.model_folder import open_folder

VERSION = 1
CLIP_S_WEIGHT = 2.5


class ClipScorer:
    """Weight x cosine between a picture and the block's own prompt, without the recipe's template.

    CLIP-S is 2.5 x max(cosine, 0); the clamp is left out, since it would hide which of two bad
    pictures is worse. Column: `clip_small@1` for a shipped model, else
    `clip:<model>@<commit, revision or hash of the weights>`. The model is looked for when the
    scorer is made and loaded at the first score. Raises ConfigError for wrong options, ModelError
    for a model that cannot be used.
    """

    kind = "clip"
    options_type: type[ClipOptions] = ClipOptions

    def __init__(self, **options: Any) -> None:
        self.options = parse(self.options_type, options, f"scorer {self.kind}")
        self._folder = open_folder(self.options.model, self.options.revision)

    @property
    def columns(self) -> Mapping[str, bool]:
        """Column name -> is higher better?"""
        return {self.column: True}

    @cached_property
    def column(self) -> str:
        """The one column."""
        if self._folder.is_shipped:
            return f"{self._folder.name}@{VERSION}"
        return f"{self.kind}:{self._folder.label}"

    @cached_property
    def towers(self) -> ClipTowers:
        """The loaded model."""
        return ClipTowers.open(self.options)

    @property
    def truncated_prompts(self) -> frozenset[str]:
        """Prompts seen so far whose ends the text tower could not read."""
        return frozenset(self.towers.truncated)

    def score(self, generations: Sequence[Generation]) -> list[dict[str, float]]:
        """Judge a batch; NaN for pictures that cannot be decoded."""
        scores = [{self.column: float("nan")} for _ in generations]
        weight = self.weight()
        for index, picture in self.towers.embed_generations(generations):
            prompt = self.towers.embed_prompt(generations[index].request.block.prompt)
            scores[index][self.column] = weight * float(torch.dot(picture, prompt))
        return scores

    def weight(self) -> float:
        """What the cosine is multiplied with."""
        return CLIP_S_WEIGHT
