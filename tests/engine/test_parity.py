"""The image equals the plain pipeline's for that seed: alone, and among any neighbours."""

import random
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
)

from teststrip import Block, Engine, Failure, Generation, Recipe, Request, png
from teststrip.noise import NOISE_NAMES, noise_names
from teststrip.testing.plain import pixels_of
from teststrip.testing.tiny import tiny_pipeline

STEPS = (4, 11, 25)
GUIDANCES = ((1.0, 0.0), *product((3.0, 7.5, 12.0), (0.0, 0.7)))
PROMPTS = ("a cat", "a commercial studio photo of a red apple", "zebra on blue")


def request_of(model: Path, scheduler: str, steps: int, guidance: float, **more: object) -> Request:
    number = len(scheduler) * 7 + steps
    recipe = Recipe(model=str(model), scheduler=scheduler, steps=steps, guidance=guidance, **more)
    block = Block(prompt=PROMPTS[number % 3], seed=number * 31 + int(guidance * 2))
    return Request(recipe=recipe, block=block)


def full_matrix(model: Path) -> list[Request]:
    return [
        request_of(model, name, steps, guidance, rescale=rescale)
        for name, steps, (guidance, rescale) in product(noise_names(), STEPS, GUIDANCES)
    ]


def sample(model: Path) -> list[Request]:
    """Every name once, steps and guidance dealt out in turn, plus every other option once."""
    dealt = [
        request_of(model, name, STEPS[i % 3], GUIDANCES[i % 7][0], rescale=GUIDANCES[i % 7][1])
        for i, name in enumerate(noise_names())
    ]
    return [
        *dealt,
        request_of(model, "ddim", 11, 5.0, eta=1.0),
        request_of(model, "euler", 11, 5.0, spacing="trailing"),
        request_of(model, "dpmpp_2m_karras", 11, 3.0, spacing="linspace"),
        request_of(model, "dpmpp_2m", 4, 3.0, negative_prompt="ugly, blurry"),
        request_of(model, "dpmpp_2m", 4, 3.0, clip_skip=1),
        request_of(model, "dpmpp_2m", 4, 3.0, prompt_template="a photo of {prompt}, 4k"),
    ]


def check(requests: list[Request], engine: Engine, pipe: StableDiffusionPipeline) -> None:
    random.Random(7).shuffle(requests)
    batched = {out.request: out for out in engine.generate(requests)}
    wrong = []
    for request in requests:
        expected = pixels_of(pipe, request)
        together = batched[request]
        (alone,) = engine.generate([request])
        assert isinstance(together, Generation), together
        assert isinstance(alone, Generation), alone
        if not np.array_equal(png.pixels(alone.png), expected):
            wrong.append((request.recipe.canonical, "alone"))
        apart = np.abs(png.pixels(together.png).astype(int) - expected).max()
        if apart > 1:
            wrong.append((request.recipe.canonical, f"batched: {apart}/255"))
    assert not wrong


def test_a_sample_of_the_matrix_equals_the_plain_pipeline(
    folder: Path, engine: Engine, pipe: StableDiffusionPipeline
) -> None:
    check(sample(folder), engine, pipe)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_full_matrix_equals_the_plain_pipeline(
    folder: Path, engine: Engine, pipe: StableDiffusionPipeline
) -> None:
    check(full_matrix(folder), engine, pipe)


def test_zero_snr_equals_the_plain_pipeline_where_the_model_predicts_v(tmp_path: Path) -> None:
    model = tiny_pipeline(tmp_path / "v", prediction_type="v_prediction")
    pipe = StableDiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    able = [name for name, known in NOISE_NAMES.items() if known.zero_snr]
    requests = [
        request_of(model, name, 11, 7.5, spacing="trailing", zero_snr=True, rescale=0.7)
        for name in able
    ]

    with Engine.open(str(model), dtype="fp32", device="cpu") as engine:
        check(requests, engine, pipe)


def test_zero_snr_of_a_noise_predicting_model_is_refused(folder: Path, engine: Engine) -> None:
    (out,) = engine.generate([request_of(folder, "ddim", 4, 3.0, zero_snr=True)])

    assert isinstance(out, Failure)
    assert "v-prediction" in out.reason


def test_sd2_layout_equals_the_plain_pipeline(tmp_path: Path) -> None:
    model = tiny_pipeline(tmp_path / "sd2", variant="sd2", prediction_type="v_prediction")
    pipe = StableDiffusionPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)

    with Engine.open(str(model), dtype="fp32", device="cpu") as engine:
        check(
            [request_of(model, "euler", 4, 3.0), request_of(model, "unipc", 11, 1.0)], engine, pipe
        )
