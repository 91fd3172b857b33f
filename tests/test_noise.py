import inspect

import diffusers.schedulers
import pytest
import torch

from teststrip import Block, Recipe, Request
from teststrip.engine.noise_schedulers import build
from teststrip.noise import NOISE_NAMES, SIGMA_SUFFIXES, noise_names, split_name
from teststrip.testing.tiny import NOISE_CONFIG as SD15

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_name_splits_into_a_base_and_a_suffix_and_back() -> None:
    for name in noise_names():
        base, suffix = split_name(name)

        assert base in NOISE_NAMES
        assert name == (f"{base}_{suffix}" if suffix else base)
    assert len(set(noise_names())) == len(noise_names())


@pytest.mark.parametrize("name", ["", "Euler", "euler_", "ddim_karras", "euler_karras_karras"])
def test_no_other_name_does(name: str) -> None:
    with pytest.raises(KeyError):
        split_name(name)


def test_a_base_that_ends_like_a_suffix_is_not_taken_apart() -> None:
    assert split_name("euler_a") == ("euler_a", None)
    assert split_name("kdpm2_a_karras") == ("kdpm2_a", "karras")


def test_a1111_names_are_unique() -> None:
    names = [known.a1111 for known in NOISE_NAMES.values() if known.a1111]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("base", NOISE_NAMES)
def test_the_class_exists_and_takes_the_options_that_the_table_promises(base: str) -> None:
    known = NOISE_NAMES[base]
    kind = getattr(diffusers.schedulers, known.class_name)
    accepted = set(inspect.signature(kind.__init__).parameters)

    assert set(known.options) <= accepted
    assert known.zero_snr == ("rescale_betas_zero_snr" in accepted)
    assert known.spacing == ("timestep_spacing" in accepted)
    for suffix in SIGMA_SUFFIXES:
        assert known.sigmas == (f"use_{suffix}_sigmas" in accepted)


@pytest.mark.parametrize("steps", [4, 11, 25])
@pytest.mark.parametrize("name", noise_names())
def test_the_calls_counted_are_the_calls_made(name: str, steps: int) -> None:
    block = Block(prompt="a", seed=0)
    request = Request(recipe=Recipe(scheduler=name, steps=steps), block=block)

    scheduler = build(request, SD15, "cpu")

    assert len(scheduler.timesteps) == request.recipe.model_calls


def test_stochastic_is_what_takes_a_generator_and_uses_it() -> None:
    """At eta 0, two generators give two results where, and only where, the table says so."""
    for base, known in NOISE_NAMES.items():
        if base == "dpmpp_sde":
            continue  # its Brownian noise is seeded by the block, as its note says
        results = []
        for seed in (1, 2):
            recipe = Recipe(scheduler=base, steps=6)
            scheduler = build(Request(recipe=recipe, block=Block(prompt="a", seed=0)), SD15, "cpu")
            sample, noise = torch.ones(1, 4, 4, 4), torch.full((1, 4, 4, 4), 0.5)
            offered = {"generator": torch.Generator().manual_seed(seed), "eta": recipe.eta}
            taken = inspect.signature(scheduler.step).parameters
            extra = {name: value for name, value in offered.items() if name in taken}
            for timestep in scheduler.timesteps[:3]:
                scaled = scheduler.scale_model_input(sample, timestep)
                sample = scheduler.step(noise + 0 * scaled, timestep, sample, **extra).prev_sample
            results.append(sample)
        assert known.stochastic == (not torch.equal(*results)), base
