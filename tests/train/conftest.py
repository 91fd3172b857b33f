"""A tiny base model, twelve drawn pictures with captions, and a config over both."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from teststrip.config import parse
from teststrip.testing.tiny import tiny_pipeline
from teststrip.train.config import TrainConfig

COLOURS = ("red", "green", "blue", "black", "orange", "purple")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model folder: SD 1.x layout, random weights, 32 px."""
    return tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve 40 x 40 px drawings with captions in metadata.jsonl."""
    return draw(tmp_path_factory.mktemp("pictures"))


def draw(folder: Path, count: int = 12, size: tuple[int, int] = (40, 40)) -> Path:
    """`count` drawings, no two alike, and their captions."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        colour = COLOURS[number % len(COLOURS)]
        shape = ("circle", "square")[number % 2]
        picture = Image.new("RGB", size, "white")
        box = (4 + number, 6, 26 + number, 30)
        pen = ImageDraw.Draw(picture)
        (pen.ellipse if shape == "circle" else pen.rectangle)(box, fill=colour)
        picture.save(folder / f"{number:02d}.png")
        lines.append(json.dumps({"file_name": f"{number:02d}.png", "text": f"a {colour} {shape}"}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def config(tiny: Path, pictures: Path) -> Callable[..., TrainConfig]:
    """`config(steps=5, lora={"rank": 4})`: a small run over the tiny model, with changes."""

    def make(**changes: Any) -> TrainConfig:
        given: dict[str, Any] = {
            "name": "run",
            "base": str(tiny),
            "data": {"source": str(pictures), "held_out": 0.25},
            "lora": {"rank": 2},
            "steps": 4,
            "batch": 2,
            "every": {"log": 1, "held_out": 2, "checkpoint": 2},
            "validation": {"draws": 2, "scorers": []},
        }
        for key, value in changes.items():
            both = isinstance(value, dict) and isinstance(given.get(key), dict)
            given[key] = given[key] | value if both else value
        return parse(TrainConfig, given, "test")

    return make
