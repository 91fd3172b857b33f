"""LAION's aesthetic predictor: a head on CLIP ViT-L/14's picture vector, v1 linear or v2 MLP.

Sources: LAION-AI/aesthetic-predictor (v1: one linear layer), christophschuhmann/
improved-aesthetic-predictor (v2: five linear layers with dropout and no activation between).
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from teststrip.config import parse
from teststrip.errors import ModelError
from teststrip.records import Generation
from teststrip.score.clip_model import ClipOptions, ClipTowers
from teststrip.score.model_folder import TO_SAFETENSORS, files_hash, open_folder

MODEL = "openai/clip-vit-large-patch14"


class AestheticOptions(ClipOptions):
    """As ClipOptions. `head`: the safetensors file of the predictor's linear layers."""

    model: str = Field(default=MODEL, min_length=1)
    head: Path


class AestheticScorer:
    """How people rated pictures of this kind, about 1 to 10; the prompt plays no part.

    Column `aesthetic:<head>@<hash of head, and of the CLIP model>`. Raises ConfigError for wrong
    options, ModelError for a head or model that cannot be used.
    """

    def __init__(self, **options: Any) -> None:
        self.options = parse(AestheticOptions, options, "scorer aesthetic")
        self._layers = read_head(self.options.head)
        self._folder = open_folder(self.options.model, self.options.revision)

    @property
    def columns(self) -> Mapping[str, bool]:
        """Column name -> is higher better?"""
        return {self.column: True}

    @cached_property
    def column(self) -> str:
        """The one column."""
        head = self.options.head
        revision = self._folder.label.rpartition("@")[2]
        return f"aesthetic:{head.stem}@{files_hash([head])}.{revision}"

    @cached_property
    def towers(self) -> ClipTowers:
        """The loaded CLIP model. Raises ModelError if the head does not fit it."""
        towers = ClipTowers.open(self.options)
        if towers.width != self._layers[0][0].shape[1]:
            raise ModelError(
                f"aesthetic head {self.options.head}: made for vectors of "
                f"{self._layers[0][0].shape[1]} numbers, {self.options.model} gives {towers.width}"
            )
        return towers

    def score(self, generations: Sequence[Generation]) -> list[dict[str, float]]:
        """Judge a batch; NaN for pictures that cannot be decoded."""
        scores = [{self.column: float("nan")} for _ in generations]
        for index, picture in self.towers.embed_generations(generations):
            value = picture.cpu()
            for weight, bias in self._layers:
                value = weight @ value + bias
            scores[index][self.column] = float(value)
        return scores


def read_head(file: Path) -> list[tuple[Tensor, Tensor]]:
    """The head's layers as (weight [out, in], bias [out]) in order, float32.

    Layers are found by their names (`layers.0.weight`, `predictor.weight`, ...). Raises ModelError
    for pickle files, missing files and layers that do not chain down to one number.
    """
    if file.suffix in (".pth", ".pt", ".bin", ".ckpt", ".pkl"):
        raise ModelError(
            f"aesthetic head {file}: a pickle file can run code and is not read; {TO_SAFETENSORS}"
        )
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as exc:
        raise ModelError(f"aesthetic head {file}: no safetensors file: {exc}") from exc
    names = sorted((n for n in tensors if n.endswith("weight")), key=_natural)
    try:
        layers = [
            (tensors[n].float(), tensors[n.removesuffix("weight") + "bias"].float()) for n in names
        ]
    except KeyError as exc:
        raise ModelError(f"aesthetic head {file}: no bias {exc} beside its weight") from exc
    shapes = [tuple(weight.shape) for weight, _ in layers]
    chained = all(a[0] == b[-1] for a, b in pairwise(shapes))
    if not shapes or any(len(s) != 2 for s in shapes) or not chained or shapes[-1][0] != 1:
        raise ModelError(
            f"aesthetic head {file}: linear layers that end in one number are accepted, "
            f"got {dict(zip(names, shapes, strict=True))}"
        )
    return layers


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which layers.10 comes after layers.2."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
