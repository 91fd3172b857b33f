"""The Scorer contract, held by every scorer of this room that needs no server."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from teststrip import Generation, plugins
from teststrip.errors import ConfigError
from teststrip.protocols import Scorer
from teststrip.testing.conformance import ScorerConformance

Make = Callable[..., Generation]


@pytest.fixture(params=["technical", "clip", "pickscore", "aesthetic"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def open_scorer(name: str, clip_folder: Path, tmp_path: Path) -> Any:
    options: dict[str, Any] = {} if name == "technical" else {"model": str(clip_folder)}
    if name == "aesthetic":
        torch.manual_seed(3)
        save_file(
            {"weight": torch.randn(1, 16), "bias": torch.zeros(1)}, tmp_path / "h.safetensors"
        )
        options["head"] = tmp_path / "h.safetensors"
    return plugins.load(name, plugins.SCORERS, "scorer")(**options)


@pytest.fixture
def scorer(name: str, clip_folder: Path, tmp_path: Path) -> Any:
    return open_scorer(name, clip_folder, tmp_path)


@pytest.fixture
def generations(make: Make) -> list[Generation]:
    return [make(seed=seed) for seed in range(3)]


class TestEveryScorer(ScorerConformance):
    """The shared laws."""

    @pytest.fixture
    def scorer(self, name: str, clip_folder: Path, tmp_path: Path) -> Any:
        return open_scorer(name, clip_folder, tmp_path)

    @pytest.fixture
    def generations(self, make: Make) -> list[Generation]:
        return [make(seed=seed) for seed in range(3)]


def test_different_pictures_get_different_finite_numbers(
    scorer: Scorer, generations: list[Generation]
) -> None:
    scores = scorer.score(generations)

    assert all(math.isfinite(value) for s in scores for value in s.values())
    assert len({tuple(s.values()) for s in scores}) == len(generations)


def test_on_a_cpu_the_numbers_are_equal_bit_for_bit_whatever_the_batch(
    scorer: Scorer, make: Make, draw: Callable[..., Any]
) -> None:
    pictures = [make(draw(seed, 40 + seed, 50 - seed), seed=seed) for seed in range(7)]

    together = scorer.score(pictures)
    alone = [scorer.score([picture])[0] for picture in pictures]
    backwards = scorer.score(pictures[::-1])[::-1]

    assert together == alone == backwards


def test_unknown_options_are_all_named(name: str) -> None:
    cls = plugins.load(name, plugins.SCORERS, "scorer")

    with pytest.raises(ConfigError) as caught:
        cls(sharpnes=1, colour="red")

    text = str(caught.value)
    assert f"scorer {name}" in text
    assert "sharpnes: unknown key" in text
    assert "colour: unknown key" in text
