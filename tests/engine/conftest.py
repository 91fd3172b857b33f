from collections.abc import Iterator
from pathlib import Path

import pytest
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)

from teststrip import Engine
from teststrip.engine.loading import mend_clip_skip
from teststrip.testing.tiny import tiny_pipeline


@pytest.fixture(scope="module", autouse=True)
def _small_models(one_thread: None) -> None:
    """All tests here."""


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def pipe(folder: Path) -> StableDiffusionPipeline:
    loaded = StableDiffusionPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    mend_clip_skip(loaded.text_encoder)
    return loaded


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[Engine]:
    with Engine.open(str(folder), dtype="fp32", device="cpu") as opened:
        yield opened
