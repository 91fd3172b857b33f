"""The synthetic world has the variances it is told to have, and every process sees the same one."""

import os
import statistics
import subprocess
import sys

import pytest

from teststrip import png
from teststrip.errors import ConfigError
from teststrip.recipe import Block, Recipe, Request
from teststrip.testing.synthetic import COLUMN, SyntheticGenerator, SyntheticScorer


def ask(recipe, prompt="a cat", seed=1):
    return Request(recipe=recipe, block=Block(prompt=prompt, seed=seed))


def test_each_variance_is_what_it_is_told_to_be():
    world = SyntheticGenerator(seed=1, sd_recipe=0, sd_recipe_prompt=0, sd_seed=0, sd_residual=0)
    prompts = [world.score(ask(Recipe(), f"prompt {i}")) for i in range(2000)]
    assert statistics.stdev(prompts) == pytest.approx(1.0, rel=0.06)
    assert statistics.fmean(prompts) == pytest.approx(0, abs=0.08)

    world = SyntheticGenerator(seed=1, sd_recipe=0.25)
    truths = [world.truth(Recipe(steps=i)) for i in range(1, 1000)]
    assert statistics.stdev(truths) == pytest.approx(0.25, rel=0.08)


def test_the_mean_over_many_blocks_is_the_truth():
    world = SyntheticGenerator(seed=2)
    a, b = Recipe(steps=10), Recipe(steps=20)

    gaps = [
        world.score(ask(a, f"prompt {i}", i)) - world.score(ask(b, f"prompt {i}", i))
        for i in range(4000)
    ]

    expected = world.truth(a) - world.truth(b)
    assert statistics.fmean(gaps) == pytest.approx(expected, abs=4 * 0.8 / 4000**0.5)


def test_effects_act_by_function_table_and_hill():
    world = SyntheticGenerator(
        sd_recipe=0,
        effects={
            "steps": lambda n: n / 100,
            "scheduler": {"ddim": 0.5},
            "guidance": {"best": 6, "width": 2, "height": 1},
        },
    )

    assert world.truth(Recipe(steps=10, scheduler="ddim", guidance=6)) == pytest.approx(1.6)
    assert world.truth(Recipe(steps=10, scheduler="euler", guidance=8)) == pytest.approx(0.1)


def test_an_effect_on_an_unknown_field_is_refused():
    with pytest.raises(ConfigError, match="gidance"):
        SyntheticGenerator(effects={"gidance": {"1": 1.0}})


def test_the_score_in_the_picture_is_the_score():
    world = SyntheticGenerator(seed=5)
    request = ask(Recipe(steps=3))

    (made,) = world.generate([request])

    assert SyntheticScorer().score([made]) == [{COLUMN: world.score(request)}]
    assert png.read(made.png).request == request


def test_another_process_sees_the_same_world():
    code = (
        "from teststrip.testing.synthetic import SyntheticGenerator as G;"
        "from teststrip.recipe import *;"
        "print(repr(G(seed=7).score(Request(recipe=Recipe(steps=4), "
        "block=Block(prompt='x', seed=9)))))"
    )
    env = os.environ | {"PYTHONHASHSEED": "123"}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True
    )

    assert float(out.stdout) == SyntheticGenerator(seed=7).score(ask(Recipe(steps=4), "x", 9))
