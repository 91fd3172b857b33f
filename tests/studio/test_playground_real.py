"""Two real pictures by the built-in model, from the form to the PNG, as a person makes them."""

import re
from pathlib import Path
from typing import Any

from teststrip import png
from teststrip.recipe import Recipe
from teststrip.studio.playground import form, presets


def test_after_a_cancelled_job_a_form_gives_the_pictures_that_the_engine_gives(
    client: Any, home: Path
) -> None:
    from teststrip.engine.pool import EnginePool
    from teststrip.recipe import Block, Request
    from teststrip.records import Generation

    long = form.values_of(presets.default().changed(steps=150), "an owl", "0-15")
    assert client.post("/playground", data=long, follow_redirects=False).status_code == 303
    desk = client.app.state.playground
    other = desk.jobs()[0]
    while not other.calls_done and other.is_open:  # the model is being opened
        desk.wait(other, timeout_s=0.05)
    desk.cancel(other.id)
    assert desk.wait(other, timeout_s=60)
    assert (other.state, other.calls_done < other.calls_total) == ("cancelled", True)

    recipe = presets.default().changed(steps=2)
    answer = client.post(
        "/playground",
        data=form.values_of(recipe, "a studio photo of a fox on a white background", "4-5"),
        follow_redirects=False,
    )
    job_id = re.findall(r"job=([\w-]+)", answer.headers["location"])[0]
    job = desk.job(job_id)
    desk.wait(job, timeout_s=120)

    assert (job.state, job.why, job.calls_done) == ("done", "", 2 * recipe.model_calls)
    block = Block(prompt=job.prompt, seed=4)
    pool = EnginePool()
    (same,) = pool.generate([Request(recipe=recipe, block=block)])
    pool.close()
    assert isinstance(same, Generation)
    mine = next(made for made in job.images if made.seed == 4)
    assert mine.key == same.image_key
    data = desk.history.picture(job, mine.key)
    assert png.read(data).request.recipe == recipe
    assert (png.pixels(data) == png.pixels(same.png)).all()
    desk.close()


def test_defaults_are_the_models_own() -> None:
    assert presets.default().width == 64
    assert presets.default("some/hub-model") == Recipe(model="some/hub-model")
