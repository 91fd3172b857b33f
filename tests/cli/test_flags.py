import pytest
from hypothesis import given
from hypothesis import strategies as st

from teststrip import Recipe
from teststrip.cli import flags
from teststrip.errors import ConfigError
from teststrip.noise import noise_names


@pytest.mark.parametrize(
    ("texts", "count", "expected"),
    [
        ([], None, [0]),
        ([], 3, [0, 1, 2]),
        (["7"], None, [7]),
        (["7"], 2, [7, 8]),
        (["1-4"], None, [1, 2, 3, 4]),
        (["9", "1-2"], None, [9, 1, 2]),
        (["5-5"], None, [5]),
    ],
)
def test_seeds_are_numbers_ranges_or_a_count(texts, count, expected):
    assert flags.seeds(texts, count) == expected


@pytest.mark.parametrize(
    ("texts", "count"),
    [(["4-1"], None), (["x"], None), (["-3"], None), (["1-2"], 2), ([], 0), (["0-99999"], None)],
)
def test_other_seeds_are_refused(texts, count):
    with pytest.raises(ValueError, match=r"--seed|--n"):
        flags.seeds(texts, count)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ink.safetensors", {"path": "ink.safetensors"}),
        ("ink.safetensors:0.8", {"path": "ink.safetensors", "scale": 0.8}),
        ("ink:-1", {"path": "ink", "scale": -1.0}),
        (r"C:\ink.safetensors", {"path": r"C:\ink.safetensors"}),
    ],
)
def test_a_lora_is_a_path_and_perhaps_a_scale(text, expected):
    assert flags.lora(text) == expected


def test_all_faults_of_prompts_seeds_and_recipe_come_together():
    with pytest.raises(ConfigError) as caught:
        flags.together(
            lambda: flags.blocks([" ", "fine"], ["4-1"], None),
            lambda: flags.check_recipe({"steps": "0", "negative_prompt": "x" * 9000}),
        )

    text = "\n".join(caught.value.faults)
    for flag in ("--seed", "PROMPT", "--steps", "--negative"):
        assert flag in text


def test_a_seed_too_large_is_named_once_however_many_prompts():
    with pytest.raises(ConfigError) as caught:
        flags.blocks(["a", "b", "c"], [str(2**32)], None)

    assert len(caught.value.faults) == 1


@given(st.sampled_from(noise_names()), st.sampled_from(["none", "1", "7.5", None]))
def test_defaults_of_a_model_never_stand_in_the_way_of_a_flag(scheduler, guidance):
    defaults = Recipe(
        model="m", scheduler="ddim", eta=0.5, zero_snr=True, spacing="trailing", rescale=0.7
    )
    fields = {"scheduler": scheduler} | ({"guidance": guidance} if guidance else {})

    recipe = flags.recipe(defaults, fields)

    assert recipe.scheduler == scheduler
    assert recipe.rescale == (0.7 if recipe.guided else 0.0)
    assert recipe.model == "m"


def test_a_flag_that_does_nothing_is_refused():
    with pytest.raises(ConfigError, match="eta acts on"):
        flags.recipe(Recipe(), {"scheduler": "euler", "eta": "0.5"})
