"""The worker on the real engine and the built-in model."""

import asyncio
import io

import pytest
from PIL import Image

from teststrip import Engine, png
from teststrip.recipe import Recipe
from teststrip.testing.one_worker import one_worker, parts_in

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("one_thread")]
PROMPT = "a commercial studio photo of an apple, professional contrast lighting"


def engine(model):
    return Engine.open(model, device="cpu", dtype="fp32", max_rows=4, deterministic=True)


async def test_jobs_of_different_recipes_share_calls_and_give_the_engines_own_pictures(tmp_path):
    recipes = [
        Recipe(scheduler="dpmpp_2m", steps=4, guidance=2),
        Recipe(scheduler="euler_a", steps=5, guidance=4),
        Recipe(scheduler="heun", steps=3, guidance=1),
    ]
    async with one_worker(tmp_path, engine, lease_s=60) as one:
        records = [await one.send(PROMPT, n=2, recipe=recipe) for recipe in recipes]
        done = [await one.ended(record) for record in records]
        stored = [[await one.parts.store.get(i.key) for i in found.images] for found in done]
        steps = one.parts.metrics.steps._value.get()
        card = one.worker.card()

    assert {found.state for found in done} == {"done"}
    assert steps < sum(found.calls_total for found in done)
    with engine("builtin") as alone:
        for record, pictures in zip(records, stored, strict=True):
            expected = {out.request.block.seed: out.png for out in alone.generate(record.requests)}
            assert pictures == [expected[seed] for seed in record.seeds]
        assert card.models["builtin"]["fingerprint"] == alone.fingerprint
    assert card.slots == 2
    assert (card.models["builtin"]["width"], card.models["builtin"]["height"]) == (64, 64)
    facts = done[0].images[0].facts
    assert png.read(stored[0][0]).image_key == facts["image_key"]
    assert (facts["width"], facts["model_calls"], facts["dtype"]) == (64, 4, "fp32")


async def test_a_cancel_frees_its_rows_and_previews_show_the_picture(tmp_path):
    parts = parts_in(tmp_path, preview_every_s=0.01, lease_s=60)
    async with one_worker(tmp_path, engine, parts) as one:
        record = await one.send(PROMPT, recipe=Recipe(steps=1000, guidance=2))
        while (preview := await parts.state.preview(record.key, 0)) is None:
            await asyncio.sleep(0.01)

        await parts.state.ask_cancel(record.key)
        found = await one.ended(record)

        assert Image.open(io.BytesIO(preview)).size == (64, 64)
        assert found.state == "cancelled"
        assert 0 < found.calls_done < 1000
        assert (await one.ended(await one.send(PROMPT))).state == "done"
        assert parts.metrics.cancel_seconds._sum.get() < 5
