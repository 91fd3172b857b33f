"""Small real parts: a random CLIPModel in the published layout, and pictures with settings."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from transformers import CLIPConfig, CLIPModel

from teststrip import Block, Generation, Recipe, Request, png
from teststrip.testing.tiny import tiny_tokenizer

SIDE, WIDTH, WINDOW = 32, 16, 77


def save_clip(folder: Path, *, seed: int = 0, logit_scale: float = 2.6592) -> Path:
    """A CLIPModel with random weights, tokenizer and preprocessing, as save_pretrained does."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(folder)
    common = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={
            **common,
            "num_hidden_layers": 2,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": WINDOW,
            "bos_token_id": tokenizer.bos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
            "pad_token_id": tokenizer.pad_token_id,
        },
        vision_config={**common, "num_hidden_layers": 2, "image_size": SIDE, "patch_size": 8},
        projection_dim=WIDTH,
        logit_scale_init_value=logit_scale,
    )
    CLIPModel(config).save_pretrained(folder)
    preprocessing = {"size": {"shortest_edge": SIDE}, "crop_size": SIDE, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _small_models(one_thread: None) -> None:
    """All tests here."""


@pytest.fixture(scope="session")
def save() -> Callable[..., Path]:
    return save_clip


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


def _draw(seed: int, width: int = 48, height: int = 40) -> Image.Image:
    rng = np.random.default_rng(seed)
    shade = np.linspace(40, 200, width, dtype=np.float32)[None, :, None]
    ground = np.broadcast_to(shade, (height, width, 3)) * rng.uniform(0.4, 1.0, 3)
    image = Image.fromarray(ground.astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = (int(v) for v in rng.integers(0, (width - 12, height - 12)))
        pen.ellipse((x, y, x + 12, y + 10), fill=tuple(int(c) for c in rng.integers(0, 256, 3)))
    return image


@pytest.fixture(scope="session")
def draw() -> Callable[..., Image.Image]:
    """draw(seed, width, height): coloured shapes on a shaded ground."""
    return _draw


@pytest.fixture(scope="session")
def make() -> Callable[..., Generation]:
    """make(picture, prompt=, seed=, **recipe): a Generation; without picture, a drawing of seed."""

    def make_one(
        picture: Any = None, *, prompt: str = "a red apple", seed: int = 0, **recipe: Any
    ) -> Generation:
        request = Request(recipe=Recipe(**recipe), block=Block(prompt=prompt, seed=seed))
        picture = _draw(seed) if picture is None else picture
        return Generation(request, f"key{seed}", png.write(picture, request, {}), 0.1, 25)

    return make_one


@pytest.fixture(scope="session")
def torn(make: Callable[..., Generation]) -> Generation:
    """A generation whose picture ends half way."""
    whole = make()
    return replace(whole, image_key="torn", png=whole.png[: len(whole.png) // 2])
