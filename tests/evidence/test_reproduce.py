"""The code in the report makes the same picture as the engine."""

import numpy as np
import pytest
from PIL import Image

from teststrip import png
from teststrip.evidence.reproduce import snippet
from teststrip.recipe import Block, Recipe, Request


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"scheduler": "dpmpp_2m_karras", "steps": 5, "guidance": 4, "rescale": 0.5},
        {"scheduler": "euler_a", "steps": 4, "negative_prompt": "blurry"},
        {"scheduler": "ddim", "steps": 4, "guidance": 1, "eta": 0.5, "spacing": "trailing"},
    ],
)
def test_the_snippet_makes_the_engines_picture(tmp_path, changes):
    pytest.importorskip("diffusers")
    from teststrip import Engine
    from teststrip.testing.tiny import tiny_pipeline

    folder = tiny_pipeline(tmp_path / "tiny")
    recipe = Recipe(
        model=str(folder), prompt_template="a photo of {prompt}", dtype="fp32", **changes
    )
    request = Request(recipe=recipe, block=Block(prompt="a red apple", seed=7))
    engine = Engine.open(str(folder), dtype="fp32")
    made = next(iter(engine.generate([request])))

    place = {}
    exec(snippet(request), place)

    ours = png.pixels(made.png).astype(int)
    theirs = np.asarray(place["image"].convert("RGB")).astype(int)
    assert isinstance(place["image"], Image.Image)
    assert np.abs(ours - theirs).max() <= 1  # rounding of the same arithmetic in another batch


def test_a_shipped_model_is_found_inside_the_package():
    code = snippet(Request(recipe=Recipe(), block=Block(prompt="a red apple", seed=7)))

    assert "files('teststrip') / 'models' / 'builtin'" in code
    compile(code, "snippet", "exec")
