import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from teststrip.errors import ModelError
from teststrip.score.preprocess import Preprocess

CONFIGS: dict[str, dict[str, Any]] = {
    "CLIP as published": {},
    "small": {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}},
    "crop within": {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 48}},
    "squeezed, no crop": {
        "size": {"height": 64, "width": 64},
        "do_center_crop": False,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
    "bilinear": {"size": {"shortest_edge": 48}, "crop_size": 48, "resample": 2},
    "no resize, crop pads": {"do_resize": False, "crop_size": {"height": 61, "width": 90}},
    "not normalised": {"do_normalize": False},
    "not rescaled": {"do_rescale": False},
}
SIZES = [(64, 64), (32, 32), (224, 224), (512, 512), (97, 333), (333, 97), (225, 224), (65, 64)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", CONFIGS)
def test_it_equals_the_processor_of_transformers(
    name: str, size: tuple[int, int], draw: Callable[..., Any]
) -> None:
    """Golden: CLIPImageProcessorPil of the installed transformers."""
    picture = np.asarray(draw(5, *size))
    theirs = CLIPImageProcessorPil(**CONFIGS[name])(picture, return_tensors="np")["pixel_values"][0]

    ours = Preprocess.from_config(CONFIGS[name])(picture)

    assert ours.shape == theirs.shape
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * max(1.0, np.abs(theirs).max()))


def test_the_numbers_are_the_published_means(draw: Callable[..., Any]) -> None:
    grey = np.full((224, 224, 3), 128, np.uint8)

    value = Preprocess()(grey)[:, 0, 0]

    expected = (128 / 255 - np.array([0.48145466, 0.4578275, 0.40821073])) / np.array(
        [0.26862954, 0.26130258, 0.27577711]
    )
    np.testing.assert_allclose(value, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"size": {"shortest_edge": 32}, "crop_size": 64}, "larger than size"),
        ({"size": {"shortest_edge": 10**9}}, "a side must be"),
        ({"size": {"shortest_edge": 32, "longest_edge": 64}}, "longest_edge"),
        ({"size": {"width": 32}}, "height"),
        ({"image_std": [1, 0, 1]}, "image_std"),
        ({"image_mean": [1, 2]}, "image_mean"),
        ({"resample": 99}, "99"),
        ([], "no CLIP preprocessing"),
    ],
)
def test_a_config_that_cannot_be_followed_is_refused(
    config: Any, fault: str, tmp_path: Path
) -> None:
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(config))

    with pytest.raises(ModelError, match=fault):
        Preprocess.from_file(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"preprocessor_config\.json: cannot be read"):
        Preprocess.from_file(tmp_path / "preprocessor_config.json")
