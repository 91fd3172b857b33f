"""The shipped model goes through the same door as any other."""

from collections.abc import Iterator

import pytest

from teststrip import Block, Engine, Failure, Generation, Request, png
from teststrip.testing.plain import pixels_of


@pytest.fixture(scope="module")
def builtin() -> Iterator[Engine]:
    with Engine.open("builtin", dtype="fp32", device="cpu") as opened:
        yield opened


def test_its_own_default_recipe_makes_an_image_of_its_native_size(builtin: Engine) -> None:
    block = Block(prompt="a studio photo of an apple on a green background", seed=1)

    (out,) = builtin.generate([Request(recipe=builtin.default_recipe, block=block)])

    assert isinstance(out, Generation)
    assert png.pixels(out.png).shape == (64, 64, 3)
    assert out.model_calls == builtin.default_recipe.steps


def test_alone_it_equals_the_plain_pipeline(builtin: Engine) -> None:
    block = Block(prompt="a sticker of an owl on a blue background", seed=3)
    request = Request(recipe=builtin.default_recipe.changed(steps=4), block=block)

    (out,) = builtin.generate([request])

    assert isinstance(out, Generation)
    assert (png.pixels(out.png) == pixels_of(builtin._pipeline.pipe, request)).all()  # type: ignore[attr-defined]


def test_a_size_its_levels_cannot_halve_is_refused_by_name(builtin: Engine) -> None:
    recipe = builtin.default_recipe.changed(width=72, steps=2)

    (out,) = builtin.generate([Request(recipe=recipe, block=Block(prompt="a cat", seed=1))])

    assert isinstance(out, Failure)
    assert "width 72 px" in out.reason
    assert "multiples of 16" in out.reason
