import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teststrip import Block, Lora, Recipe, Request
from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.noise import NOISE_NAMES, noise_names, split_name
from teststrip.recipe import canonical_json, short_hash

# Written down once: a changed id would orphan every picture made so far.
IDS: dict[str, tuple[dict[str, Any], str]] = {
    "all defaults": ({}, "44136fa355b3"),
    "one field": ({"steps": 20}, "7d29ffdef047"),
    "usual": (
        {"scheduler": "dpmpp_2m_karras", "steps": 20, "guidance": 5.5},
        "ab9c60efb40a",
    ),
    "terminal SNR": (
        {"scheduler": "ddim", "spacing": "trailing", "zero_snr": True, "eta": 0.5, "rescale": 0.7},
        "f9977a7796e2",
    ),
    "everything else": (
        {
            "loras": [{"path": "ink.safetensors", "scale": 0.8}],
            "width": 512,
            "height": 768,
            "negative_prompt": "flou, é",
            "prompt_template": "a photo of {prompt}",
            "clip_skip": 1,
            "dtype": "bf16",
            "revision": "main",
        },
        "ed56043493f7",
    ),
}


@pytest.mark.parametrize("name", IDS)
def test_ids_never_change(name: str) -> None:
    fields, recipe_id = IDS[name]

    assert Recipe.model_validate(fields).recipe_id == recipe_id


def test_prompt_and_image_names_never_change() -> None:
    block = Block(prompt="a red apple", seed=7)

    assert block.prompt_id == "ec8fa91c"
    assert Request(recipe=Recipe(), block=block).image_key("f") == "f44d02dbdc7bd3a8ffdca28c"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"guidance": None}, {"guidance": 1}),
        ({"guidance": "none"}, {"guidance": 0}),
        ({"guidance": 0.4}, {"guidance": 1.0}),
        ({"guidance": 7}, {"guidance": 7.0}),
        ({"steps": "25"}, {}),
        ({"model": "builtin", "eta": -0.0}, {}),
        ({"loras": [{"path": "a"}]}, {"loras": [{"scale": 1, "path": "a"}]}),
        ({"loras": [{"path": "a", "scale": -0.0}]}, {"loras": [{"path": "a", "scale": 0}]}),
    ],
)
def test_two_spellings_of_one_recipe_have_one_id(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    first, second = Recipe.model_validate(one), Recipe.model_validate(other)

    assert first == second
    assert first.recipe_id == second.recipe_id


@pytest.mark.parametrize(
    "change",
    [{"steps": 26}, {"dtype": "fp32"}, {"negative_prompt": " "}, {"loras": [{"path": "a"}]}],
    ids=str,
)
def test_another_recipe_has_another_id(change: dict[str, Any]) -> None:
    assert Recipe().changed(**change).recipe_id != Recipe().recipe_id


def test_canonical_json_is_one_spelling() -> None:
    assert canonical_json({"b": 1, "a": [0.1, "é"]}) == '{"a":[0.1,"é"],"b":1}'
    assert short_hash({"b": 1, "a": 2}) == short_hash({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))


def faults(data: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        parse(Recipe, data, "recipe")
    return caught.value.faults


@pytest.mark.parametrize(
    ("data", "where", "what"),
    [
        ({"steps": 0}, "steps", "greater than or equal to 1"),
        ({"steps": 10_000}, "steps", "less than or equal to 1000"),
        ({"steps": 2.5}, "steps", "integer"),
        ({"width": 63}, "width", "multiple of 8"),
        ({"height": 8}, "height", "greater than or equal to 16"),
        ({"guidance": float("nan")}, "guidance", "finite number"),
        ({"guidance": float("inf")}, "guidance", "finite number"),
        ({"guidance": "strong"}, "guidance", "number"),
        ({"rescale": float("-inf")}, "rescale", "finite number"),
        ({"scheduler": "euler_b"}, "scheduler", "unknown noise scheduler 'euler_b'"),
        ({"scheduler": "ddim_karras"}, "scheduler", "unknown noise scheduler"),
        ({"spacing": "even"}, "spacing", "'leading', 'linspace' or 'trailing'"),
        ({"prompt_template": "a photo"}, "prompt_template", "{prompt} exactly once"),
        ({"prompt_template": "{prompt} {prompt}"}, "prompt_template", "exactly once"),
        ({"dtype": "int8"}, "dtype", "'fp32', 'bf16' or 'fp16'"),
        ({"loras": [{"path": ""}]}, "loras.0.path", "at least 1 character"),
        ({"loras": [{"path": "a", "scale": 11}]}, "loras.0.scale", "less than or equal to 10"),
        ({"loras": [{"path": "a"}] * 9}, "loras", "at most 8"),
        ({"sheduler": "ddim"}, "sheduler", "unknown key"),
        ({"scheduler": "pndm", "zero_snr": True}, "zero_snr", "no zero-SNR option; these have"),
        ({"scheduler": "dpmpp_2s", "spacing": "leading"}, "spacing", "no timestep spacing"),
        ({"eta": 0.5}, "eta", "ddim and tcd only"),
        ({"scheduler": "lcm", "steps": 51}, "steps", "at most 50 steps, got 51"),
        ({"guidance": 1, "rescale": 0.5}, "rescale", "set guidance above 1"),
    ],
    ids=str,
)
def test_a_wrong_field_says_where_what_it_got_and_what_is_accepted(
    data: dict[str, Any], where: str, what: str
) -> None:
    (fault,) = faults(data)

    assert fault.startswith(f"{where}: ")
    assert what in fault


def test_all_faults_show_at_once_also_those_between_fields() -> None:
    found = faults(
        {
            "steps": 60,
            "scheduler": "lcm",
            "eta": 0.5,
            "guidance": 1,
            "rescale": 0.5,
            "width": 63,
            "clip": 2,
        }
    )

    assert [fault.partition(":")[0] for fault in found] == [
        "eta", "steps", "rescale", "width", "clip",
    ]  # fmt: skip


def test_a_fault_brings_no_others_with_it() -> None:
    assert len(faults({"scheduler": "nope", "eta": 0.5, "zero_snr": True, "steps": 60})) == 1
    assert len(faults({"guidance": "much", "rescale": 0.5})) == 1


def test_an_unknown_scheduler_lists_every_base_name() -> None:
    (fault,) = faults({"scheduler": "plms"})

    assert all(name in fault for name in NOISE_NAMES)
    assert str(len(noise_names())) in fault


def test_recipes_are_frozen_and_changed_makes_a_checked_copy() -> None:
    recipe = Recipe()

    with pytest.raises(ValueError, match="frozen"):
        recipe.steps = 3  # type: ignore[misc]
    assert recipe.changed(steps=3).steps == 3
    assert recipe.steps == 25
    with pytest.raises(ValueError, match="steps"):
        recipe.changed(steps=0)


@pytest.mark.parametrize(
    ("prompt", "seed"), [("", 1), (" \n", 1), ("x" * 8001, 1), ("a", -1), ("a", 2**32), ("a", 0.5)]
)
def test_blocks_need_a_prompt_and_a_32_bit_seed(prompt: str, seed: Any) -> None:
    with pytest.raises(ConfigError):
        parse(Block, {"prompt": prompt, "seed": seed}, "block")


def test_the_template_holds_the_prompt_as_it_is() -> None:
    recipe = Recipe(prompt_template="a photo of {prompt}, sharp")
    request = Request(recipe=recipe, block=Block(prompt="a {prompt} {x}", seed=0))

    assert request.text == "a photo of a {prompt} {x}, sharp"


def test_image_names_follow_recipe_block_and_weights_and_not_their_ends() -> None:
    def key(prompt: str, seed: int, weights: str, **recipe: Any) -> str:
        block = Block(prompt=prompt, seed=seed)
        return Request(recipe=Recipe(**recipe), block=block).image_key(weights)

    keys = {key("a", 1, "f"), key("b", 1, "f"), key("a", 2, "f"), key("a", 1, "g"),
            key("a", 1, "f", steps=9), key("a", 11, "f"), key("a1", 1, "f")}  # fmt: skip

    assert len(keys) == 7


@st.composite
def recipes(draw: st.DrawFn) -> Recipe:
    scheduler = draw(st.sampled_from(noise_names()))
    known = NOISE_NAMES[split_name(scheduler)[0]]
    few = scheduler in ("lcm", "tcd")
    guidance = draw(st.floats(0, 100))
    side = st.none() | st.integers(2, 512).map(lambda n: 8 * n)
    return Recipe(
        model=draw(st.text(min_size=1, max_size=30)),
        revision=draw(st.none() | st.text(max_size=10)),
        loras=draw(
            st.lists(
                st.builds(Lora, path=st.text(min_size=1, max_size=20), scale=st.floats(-10, 10)),
                max_size=3,
            ).map(tuple)
        ),
        scheduler=scheduler,
        spacing=draw(st.sampled_from([None, "leading", "trailing"])) if known.spacing else None,
        zero_snr=draw(st.booleans()) if known.zero_snr else False,
        eta=draw(st.floats(0, 1)) if scheduler in ("ddim", "tcd") else 0.0,
        steps=draw(st.integers(1, 50 if few else 1000)),
        guidance=guidance,
        rescale=draw(st.floats(0, 1)) if guidance > 1 else 0.0,
        width=draw(side),
        height=draw(side),
        negative_prompt=draw(st.text(max_size=30)),
        clip_skip=draw(st.integers(0, 12)),
        dtype=draw(st.sampled_from([None, "fp32", "bf16", "fp16"])),
    )


@settings(deadline=None)
@given(recipes())
def test_json_both_ways_keeps_the_recipe_and_its_id(recipe: Recipe) -> None:
    whole = Recipe.model_validate_json(recipe.model_dump_json())
    short = Recipe.model_validate(json.loads(recipe.canonical))

    assert whole == short == recipe
    assert whole.recipe_id == short.recipe_id == recipe.recipe_id


@settings(deadline=None)
@given(recipes(), recipes())
def test_equal_recipes_and_only_they_have_equal_ids(one: Recipe, other: Recipe) -> None:
    assert (one == other) == (one.recipe_id == other.recipe_id)
