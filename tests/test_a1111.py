from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from teststrip import Block, Lora, Recipe, Request, a1111
from teststrip.errors import ConfigError
from teststrip.noise import NOISE_NAMES, noise_names, split_name

# The example in AUTOMATIC1111/stable-diffusion-webui, modules/infotext_utils.py, shortened
OLD = """girl with an artist's beret, blue eyes, ((eyeshadow)), detailed
Negative prompt: ugly, (((deformed))), [blurry]
Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 965400086, Size: 512x512, Model hash: 45dee52b"""


def text(**changed: str | None) -> str:
    """A settings line of A1111 1.10 with some keys changed or left out (None)."""
    pairs: dict[str, str | None] = {
        "Steps": "25", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "7.5",
        "Seed": "1", "Size": "512x768", "Model hash": "6ce0161689", "Model": "v1-5-pruned",
    }  # fmt: skip
    pairs |= {key.replace("_", " "): value for key, value in changed.items()}
    line = ", ".join(f"{key}: {value}" for key, value in pairs.items() if value is not None)
    return f"a cat\nNegative prompt: blurry\n{line}"


def test_the_example_of_a1111_is_read() -> None:
    request, size, leftover = a1111.from_text(OLD)

    assert request.block == Block(
        prompt="girl with an artist's beret, blue eyes, ((eyeshadow)), detailed", seed=965400086
    )
    assert request.recipe == Recipe(
        model="45dee52b",
        scheduler="euler_a",
        steps=20,
        guidance=7,
        width=512,
        height=512,
        negative_prompt="ugly, (((deformed))), [blurry]",
    )
    assert size == (512, 512)
    assert leftover == {"Model hash": "45dee52b"}


def test_the_text_written_is_the_one_the_field_knows() -> None:
    recipe = Recipe(
        model="v1-5, pruned",
        scheduler="dpmpp_2m_karras",
        loras=(Lora(path="ink", scale=0.8),),
        width=512,
        height=768,
        negative_prompt="blurry",
        clip_skip=1,
        guidance=7,
    )
    request = Request(recipe=recipe, block=Block(prompt="a cat,\non a mat", seed=1))

    assert a1111.to_text(request, 512, 768, "6ce0161689") == (
        "a cat,\non a mat <lora:ink:0.8>\n"
        "Negative prompt: blurry\n"
        "Steps: 25, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, "
        'Size: 512x768, Model hash: 6ce0161689, Model: "v1-5, pruned", Clip skip: 2'
    )


@pytest.mark.parametrize(
    ("sampler", "schedule", "expected"),
    [
        ("DPM++ 2M Karras", None, "dpmpp_2m_karras"),
        ("DPM++ 2M", "Karras", "dpmpp_2m_karras"),
        ("DPM++ 2M", "Automatic", "dpmpp_2m"),
        ("DPM++ 2M SDE Exponential", None, "dpmpp_2m_sde_exponential"),
        ("DPM++ SDE", "Karras", "dpmpp_sde_karras"),
        ("DPM2 a Karras", None, "kdpm2_a_karras"),
        ("Euler a", None, "euler_a"),
        ("Euler", "Beta", "euler_beta"),
        ("PLMS", None, "pndm"),
        ("DDIM", None, "ddim"),
        ("unipc", None, "unipc"),
        ("dpmpp_3m", "Karras", "dpmpp_3m_karras"),
    ],
)
def test_old_and_new_sampler_names_are_read(
    sampler: str, schedule: str | None, expected: str
) -> None:
    read = a1111.from_text(text(Sampler=sampler, Schedule_type=schedule)).request

    assert read.recipe.scheduler == expected


def test_sgm_uniform_is_trailing_spacing() -> None:
    recipe = a1111.from_text(text(Sampler="Euler", Schedule_type="SGM Uniform")).request.recipe

    assert (recipe.scheduler, recipe.spacing) == ("euler", "trailing")


@pytest.mark.parametrize(
    ("sampler", "schedule"),
    [("DPM adaptive", None), ("Euler a", "Karras"), ("Euler", "Align Your Steps")],
)
def test_what_we_have_no_scheduler_for_is_one_clear_message(
    sampler: str, schedule: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        a1111.from_text(text(Sampler=sampler, Schedule_type=schedule))

    message = str(caught.value)
    assert repr(sampler) in message
    assert "DPM++ 2M SDE" in message
    assert "SGM Uniform" in message


def test_keys_without_a_field_are_kept() -> None:
    read = a1111.from_text(text(Version="v1.10.1", Hires_upscale="2", Denoising_strength="0.4"))

    assert read.leftover == {
        "Model hash": "6ce0161689",
        "Version": "v1.10.1",
        "Hires upscale": "2",
        "Denoising strength": "0.4",
    }


@pytest.mark.parametrize(("written", "ours"), [(None, 0), ("1", 0), ("2", 1)])
def test_clip_skip_counts_from_one_there_and_from_zero_here(written: str | None, ours: int) -> None:
    assert a1111.from_text(text(Clip_skip=written)).request.recipe.clip_skip == ours


def test_lora_tokens_become_loras_and_leave_the_prompt() -> None:
    prompt = "a cat <lora:ink-v2:0.8>, by night <lora:grain> <lora:two:0.5:0.7>"

    recipe, block = (r := a1111.from_text(prompt + text()[5:]).request).recipe, r.block

    assert [(lora.path, lora.scale) for lora in recipe.loras] == [
        ("ink-v2", 0.8), ("grain", 1.0), ("two", 0.5),
    ]  # fmt: skip
    assert block.prompt == "a cat, by night"


def test_every_missing_setting_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        a1111.from_text(text(Steps=None, CFG_scale=None))

    assert caught.value.faults == ("Steps: missing", "CFG scale: missing")


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"Steps": "many"}, "recipe.steps"),
        ({"Seed": "-1"}, "block.seed"),
        ({"Size": "510x512"}, "recipe.width"),
        ({"Clip_skip": "two"}, "recipe.clip_skip"),
        ({"CFG_scale": "nan"}, "recipe.guidance"),
        ({"Teststrip": '"{broken"'}, "Teststrip"),
        ({"Teststrip": '"[1]"'}, "no JSON object"),
        ({"Teststrip": '"{\\"sped\\": 1}"'}, "recipe.sped: unknown key"),
    ],
)
def test_values_out_of_range_are_named(changed: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        a1111.from_text(text(**changed))


@pytest.mark.parametrize("nothing", ["", "just a prompt", "a: 1, b: 2", "\n\n"])
def test_a_text_without_settings_is_refused(nothing: str) -> None:
    with pytest.raises(ConfigError, match="settings line"):
        a1111.from_text(nothing)


@pytest.mark.parametrize("piece", ["a", " ", "aa: ", 'ab: "', '"', "\\", "<lora:", "a:,"])
def test_hostile_text_costs_bounded_time(piece: str) -> None:
    """300 kB at 100 ns a character is 30 ms; quadratic time would be minutes."""
    long = piece * (300_000 // len(piece))
    for hostile in (long, text() + ", x: " + long, long + "\n" + text()):
        try:
            a1111.from_text(hostile)
        except ConfigError:
            continue
    with pytest.raises(ConfigError, match="at most"):
        a1111.from_text("a" * 400_001)


words = st.text(max_size=40) | st.sampled_from(
    ["a, b: c", 'say "hi"', "Negative prompt: x", "l1\nl2", " <lora:x:1>", "\\", "a\r\nb", "\x85"]
)


templates = st.builds("{0}{{prompt}}{1}".format, words, words).filter(
    lambda t: t.count("{prompt}") == 1
)


@st.composite
def requests(draw: st.DrawFn) -> Request:
    scheduler = draw(st.sampled_from(noise_names()))
    known = NOISE_NAMES[split_name(scheduler)[0]]
    side = st.none() | st.integers(2, 512).map(lambda n: 8 * n)
    guidance = draw(st.floats(1.1, 100))
    return Request(
        recipe=Recipe(
            model=draw(words.filter(bool)),
            revision=draw(st.none() | words),
            loras=draw(
                st.lists(
                    st.builds(Lora, path=words.filter(bool), scale=st.floats(-10, 10)), max_size=3
                ).map(tuple)
            ),
            scheduler=scheduler,
            spacing=draw(st.sampled_from([None, "trailing"])) if known.spacing else None,
            zero_snr=draw(st.booleans()) if known.zero_snr else False,
            eta=draw(st.floats(0, 1)) if scheduler in ("ddim", "tcd") else 0.0,
            steps=draw(st.integers(1, 50)),
            guidance=guidance,
            rescale=draw(st.floats(0, 1)),
            width=draw(side),
            height=draw(side),
            negative_prompt=draw(words),
            prompt_template=draw(templates),
            clip_skip=draw(st.integers(0, 12)),
            dtype=draw(st.sampled_from([None, "bf16"])),
        ),
        block=Block(
            prompt=draw(words.filter(lambda w: bool(w.strip()))),
            seed=draw(st.integers(0, 2**32 - 1)),
        ),
    )


ENDS_IN_A_BLANK = Request(
    recipe=Recipe(prompt_template="0{prompt}\x85"), block=Block(prompt="0", seed=0)
)


@settings(max_examples=150, deadline=None)
@given(requests())
@example(ENDS_IN_A_BLANK)
def test_request_to_text_to_request_to_text_is_the_same(request: Request) -> None:
    written = a1111.to_text(request, 64, 128, "abc")
    read = a1111.from_text(written)

    assert read.request == request
    assert read.size == (64, 128)
    assert read.leftover == {"Model hash": "abc"}
    assert a1111.to_text(read.request, 64, 128, "abc") == written
