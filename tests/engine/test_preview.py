"""Previews show what the picture becomes, whichever noise scheduler makes it."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from teststrip import Block, Engine, Generation, Request, png
from teststrip.testing.plain import ORACLE

PROMPT = "a studio photo of an apple on a green background"


@pytest.fixture(scope="module")
def builtin() -> Iterator[Engine]:
    with Engine.open("builtin", dtype="fp32", device="cpu", max_rows=64) as opened:
        yield opened


def pixels(webp: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(webp), formats=["WEBP"]).convert("RGB"))


def likeness(webp: bytes, finished: bytes) -> float:
    """Correlation of both at 16 x 16 px."""

    def small(picture: np.ndarray) -> np.ndarray:
        shrunk = Image.fromarray(picture).resize((16, 16), Image.Resampling.BOX)
        return np.asarray(shrunk, float).ravel()

    return float(np.corrcoef(small(pixels(webp)), small(png.pixels(finished)))[0, 1])


def test_every_noise_scheduler_foresees_its_picture(builtin: Engine) -> None:
    names = [name for name in ORACLE if name not in ("lcm", "tcd", "sa_solver")]
    recipes = {name: builtin.default_recipe.changed(scheduler=name, steps=9) for name in names}
    tickets = {
        builtin.add_request(Request(recipe=recipe, block=Block(prompt=PROMPT, seed=3))): name
        for name, recipe in recipes.items()
    }
    seen: dict[str, list[bytes]] = {name: [] for name in names}
    made: dict[str, bytes] = {}

    while not builtin.is_idle:
        for out in builtin.step():
            assert isinstance(out, Generation)
            made[out.request.recipe.scheduler] = out.png
        for ticket, name in tickets.items():
            if (preview := builtin.preview(ticket)) is not None:
                seen[name].append(preview)

    for name in names:
        assert len(seen[name]) == recipes[name].model_calls - 1
        first, last = (likeness(seen[name][k], made[name]) for k in (0, -1))
        assert last > 0.85, name
        assert first > 0.5, name


def test_a_preview_is_as_large_as_asked_for_and_no_larger_than_the_picture(builtin: Engine) -> None:
    recipe = builtin.default_recipe.changed(width=64, height=32, steps=3)
    ticket = builtin.add_request(Request(recipe=recipe, block=Block(prompt=PROMPT, seed=1)))
    assert builtin.preview(ticket) is None

    builtin.step()

    assert pixels(builtin.preview(ticket) or b"").shape == (32, 64, 3)
    assert pixels(builtin.preview(ticket, 16) or b"").shape == (8, 16, 3)
    builtin.cancel(ticket)
    assert builtin.preview(ticket) is None


def test_looking_changes_no_picture(builtin: Engine) -> None:
    request = Request(
        recipe=builtin.default_recipe.changed(scheduler="euler_a", steps=4),
        block=Block(prompt=PROMPT, seed=5),
    )
    (unseen,) = builtin.generate([request])
    ticket = builtin.add_request(request)

    out = []
    while not out:
        out = builtin.step()
        builtin.preview(ticket)

    assert isinstance(unseen, Generation)
    assert isinstance(out[0], Generation)
    assert out[0].png == unseen.png
