"""The stepper without a model keeps an engine's promises, and fails as one on a bad day."""

import io
import subprocess
import sys

import pytest
from PIL import Image

from teststrip import Block, Failure, Generation, Recipe, Request, png
from teststrip.errors import ConfigError, GenerationError
from teststrip.testing.instant import InstantStepper


def request(prompt="a mug", seed=0, **fields):
    return Request(recipe=Recipe(steps=4).changed(**fields), block=Block(prompt=prompt, seed=seed))


def all_of(stepper):
    out = []
    while not stepper.is_idle:
        out += stepper.step()
    return out


def test_a_picture_depends_on_its_request_alone():
    crowd, alone = InstantStepper(slots=3), InstantStepper()
    wishes = [request(seed=seed) for seed in range(5)] + [request("a cup")]
    for wish in wishes:
        crowd.add_request(wish)

    made = {out.request: out for out in all_of(crowd)}

    assert set(made) == set(wishes)
    assert len({out.png for out in made.values()}) == len(wishes)
    for wish in wishes:
        alone.add_request(wish)
        (again,) = all_of(alone)
        assert again.png == made[wish].png
        assert png.read(again.png).image_key == again.image_key


def test_it_takes_the_recipes_size_and_its_model_calls():
    stepper = InstantStepper()
    stepper.add_request(request(scheduler="heun", width=48, height=96))

    (out,) = all_of(stepper)

    assert isinstance(out, Generation)
    assert png.pixels(out.png).shape == (96, 48, 3)
    assert out.model_calls == out.request.recipe.model_calls == 7


def test_progress_previews_and_cancel_are_those_of_an_engine():
    stepper = InstantStepper(slots=1)
    first, second = (stepper.add_request(request(seed=seed)) for seed in (1, 2))
    assert stepper.preview(first) is None

    stepper.step()

    assert stepper.progress(first).calls_done == 1
    assert stepper.progress(second).calls_done == 0
    assert Image.open(io.BytesIO(stepper.preview(first, 32))).size == (32, 32)
    assert stepper.cancel(first)
    assert not stepper.cancel(first)
    assert [out.request.block.seed for out in all_of(stepper)] == [2]


def test_a_fault_is_a_failure_and_its_neighbour_goes_on():
    stepper = InstantStepper()
    stepper.add_request(request("FAULT"))
    stepper.add_request(request())

    kinds = {out.request.block.prompt: type(out) for out in all_of(stepper)}

    assert kinds == {"FAULT": Failure, "a mug": Generation}


def test_memory_runs_out_once():
    stepper = InstantStepper()
    stepper.add_request(request("MEMORY"))
    with pytest.raises(GenerationError, match="out of memory"):
        stepper.step()

    assert [type(out) for out in all_of(stepper)] == [Generation]


def test_poison_kills_the_process():
    code = (
        "from teststrip.testing.instant import InstantStepper\n"
        "from teststrip import Block, Recipe, Request\n"
        "s = InstantStepper(); s.add_request(Request(recipe=Recipe(), block=Block("
        "prompt='POISON', seed=1)))\nprint('before', flush=True)\ns.step()\nprint('after')"
    )

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert ended.returncode == -9
    assert ended.stdout == b"before\n"


def test_another_models_recipe_is_refused():
    with pytest.raises(ConfigError, match="asks for 'other'"):
        InstantStepper().add_request(request(model="other"))
