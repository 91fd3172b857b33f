"""Each tool's metadata is understood, whatever the picture's format, and hostile texts are not."""

import json
from typing import Any

import pytest

from tests.imports_meta import layouts as lay
from teststrip import png as own_png
from teststrip.errors import ConfigError
from teststrip.imports import reading, texts
from teststrip.imports.found import NO_SETTINGS, Found
from teststrip.recipe import Block, Recipe, Request


def found(data: bytes) -> Found:
    return reading.read(texts.open_picture(data).texts)


@pytest.mark.parametrize(
    "data",
    [
        lay.png({"parameters": lay.A1111_TEXT}),
        lay.exif("JPEG", lay.user_comment(lay.A1111_TEXT)),
        lay.exif("WEBP", lay.user_comment(lay.A1111_TEXT)),
        lay.exif("JPEG", lay.user_comment(lay.A1111_TEXT, "utf-16-le")),
        lay.exif("JPEG", b"ASCII\x00\x00\x00" + lay.A1111_TEXT.encode()),
    ],
    ids=["png", "jpeg", "webp", "jpeg, little endian", "jpeg, ascii"],
)
def test_a1111_is_read_from_png_text_and_from_exif(data: bytes) -> None:
    image = found(data)

    assert (image.tool, image.seed) == ("A1111", 965400086)
    assert image.prompt == "a red fox in the snow,\nsharp"
    assert image.fields == {
        "model": "v1-5-pruned-emaonly",
        "loras": [{"path": "ink", "scale": 0.8}],
        "scheduler": "dpmpp_2m_karras",
        "steps": 20,
        "guidance": 7.0,
        "width": 64,
        "height": 48,
        "negative_prompt": "blurry, low quality",
    }
    assert image.params == {}


def test_a_sampler_that_we_have_no_name_for_is_a_parameter_and_the_rest_is_kept() -> None:
    text = lay.A1111_TEXT.replace("DPM++ 2M", "Restart").replace("Karras", "Turbo")
    image = found(lay.png({"parameters": text + ", Denoising strength: 0.4"}))

    assert image.params == {
        "sampler": "Restart",
        "schedule_type": "Turbo",
        "denoising_strength": 0.4,
    }
    assert "scheduler" not in image.fields
    assert image.fields["steps"] == 20
    assert image.prompt.startswith("a red fox")


def test_our_own_pictures_keep_their_recipe_id() -> None:
    recipe = Recipe(steps=12, guidance=3.0, scheduler="ddim", eta=0.5)
    request = Request(recipe=recipe, block=Block(prompt="a cat", seed=3))
    image = found(own_png.write(lay.picture(), request, {"fingerprint": "x"}))

    assert (image.tool, image.prompt, image.seed) == ("Teststrip", "a cat", 3)
    assert image.recipe_id == recipe.recipe_id


@pytest.mark.parametrize(
    "data",
    [
        lay.png({"prompt": lay.as_text(lay.comfy()), "workflow": "{}"}),
        lay.exif("WEBP", tags={0x0110: "prompt:" + lay.as_text(lay.comfy())}),
    ],
    ids=["png", "webp"],
)
def test_comfyui_is_walked_back_from_its_sampler(data: bytes) -> None:
    image = found(data)

    assert (image.tool, image.prompt) == ("ComfyUI", "a castle on a hill")
    assert image.seed == 1071208483241017
    assert image.fields == {
        "model": "sd_xl_base_1.0.safetensors",
        "loras": [{"path": "ink.safetensors", "scale": 0.6}],
        "scheduler": "euler_a",
        "steps": 30,
        "guidance": 5.5,
        "width": 1024,
        "height": 768,
        "negative_prompt": "text, watermark",
    }
    assert image.params == {"sigma_schedule": "karras"}  # euler_a has no such name of ours


def test_comfyui_with_a_guider_and_separate_sigmas() -> None:
    image = found(lay.png({"prompt": lay.as_text(lay.FLUX)}))

    assert (image.prompt, image.seed) == ("a blue bird", 77)
    assert image.fields["model"] == "flux1-dev.sft"
    assert (image.fields["steps"], image.fields["scheduler"]) == (20, "euler")
    assert (image.fields["width"], image.fields["height"]) == (1024, 1024)
    assert image.params == {"distilled_guidance": 3.5, "sigma_schedule": "simple"}


def test_of_two_comfyui_samplers_the_first_counts() -> None:
    graph = lay.comfy(seed=5)
    second = json.loads(json.dumps(graph["3"]))
    second["inputs"] |= {"latent_image": ["3", 0], "seed": 99, "denoise": 0.4, "steps": 8}
    graph |= {"20": second}
    graph["8"]["inputs"]["samples"] = ["20", 0]

    image = found(lay.png({"prompt": lay.as_text({"20": second} | graph)}))

    assert (image.seed, image.fields["steps"], image.params["samplers"]) == (5, 30, 2.0)


def test_comfyui_custom_sampler_and_both_sides_of_a_control_net() -> None:
    graph = lay.comfy()
    graph["3"] = {
        "class_type": "SamplerCustom",
        "inputs": {
            "add_noise": True,
            "noise_seed": 8,
            "cfg": 4.0,
            "model": ["4", 0],
            "positive": ["30", 0],
            "negative": ["30", 1],
            "sampler": ["31", 0],
            "sigmas": ["32", 0],
            "latent_image": ["5", 0],
        },
    }
    graph["30"] = {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {"positive": ["6", 0], "negative": ["7", 0], "strength": 1.0},
    }
    graph["31"] = {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}}
    graph["32"] = {"class_type": "KarrasScheduler", "inputs": {"steps": 17, "rho": 7.0}}
    image = found(lay.png({"prompt": lay.as_text(graph)}))

    assert (image.prompt, image.fields["negative_prompt"]) == (
        "a castle on a hill",
        "text, watermark",
    )
    assert (image.seed, image.fields["steps"], image.fields["guidance"]) == (8, 17, 4.0)
    assert image.fields["scheduler"] == "dpmpp_2m_karras"


def test_a_comfyui_drawing_is_read_where_there_is_no_graph() -> None:
    image = found(lay.png({"workflow": lay.as_text(lay.WORKFLOW)}))

    assert (image.tool, image.prompt, image.seed) == ("ComfyUI", "a drawn house", 42)
    assert image.fields == {
        "model": "m.ckpt",
        "scheduler": "dpmpp_2m_karras",
        "steps": 12,
        "guidance": 6.5,
        "width": 512,
        "height": 640,
        "negative_prompt": "ugly",
    }


@pytest.mark.parametrize(
    "data",
    [
        lay.png({"parameters": lay.as_text(lay.SWARM)}),
        lay.exif("JPEG", lay.user_comment(json.dumps(lay.SWARM, indent=2), "utf-16-le")),
    ],
    ids=["png", "jpeg"],
)
def test_swarmui(data: bytes) -> None:
    image = found(data)

    assert (image.tool, image.prompt, image.seed) == (
        "SwarmUI",
        "a 30 year old woman",
        2042464333,
    )
    assert image.fields == {
        "model": "Flux/flux1-dev-fp8",
        "scheduler": "euler",
        "steps": 25,
        "guidance": 1.0,
        "width": 512,
        "height": 768,
    }
    assert image.params == {"vae": "ae.sft"}


def test_invokeai_and_its_older_layout() -> None:
    image = found(lay.png({"invokeai_metadata": lay.as_text(lay.INVOKE)}))
    old = found(lay.png({"sd-metadata": lay.as_text(lay.INVOKE_OLD), "Dream": "x"}))

    assert (image.tool, image.prompt, image.seed) == ("InvokeAI", "landscape", 356120443)
    assert image.fields["scheduler"] == "dpmpp_2m_sde_karras"
    assert image.fields["model"] == "amixx"
    assert image.fields["loras"] == [{"path": "ink", "scale": 0.75}]
    assert image.params == {"vae": "sd-vae-ft-mse"}
    assert (old.prompt, old.fields["negative_prompt"]) == ("an old lighthouse", "blurry, text")
    assert (old.fields["scheduler"], old.fields["guidance"], old.seed) == ("lms", 5.0, 2980747362)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"parameters": "hello"},
        {"parameters": "{" * 5000},
        {"prompt": "[" * 100_000},
        {"prompt": '{"1": {"class_type": "KSampler", "inputs": {"positive": ["1", 0]}}}'},
        {"workflow": '{"nodes": [{"id": [], "type": 4}], "links": [[1]]}'},
        {"invokeai_metadata": '{"steps": {}, "cfg_scale": [], "positive_prompt": 4}'},
        {"sd-metadata": '{"image": {"prompt": {"a": 1}}}'},
        {"parameters": '{"sui_image_params": {"seed": 1e400, "steps": "NaN", "loras": {}}}'},
        {"teststrip": '{"recipe": {"steps": [1]}, "seed": true}'},
    ],
)
def test_texts_that_are_no_settings_give_a_picture_without_settings(told: dict[str, Any]) -> None:
    image = found(lay.png(told))

    assert image.seed is None
    assert not image.prompt
    assert image.recipe_id == NO_SETTINGS or image.fields or image.params


def test_a_graph_that_runs_in_circles_ends() -> None:
    graph = lay.comfy()
    graph["6"]["inputs"] = {"text": ["11", 0], "clip": ["6", 0]}
    graph["11"]["inputs"] = {"value": ["11", 0], "text": ["6", 0]}
    graph["5"]["inputs"] = {"width": ["5", 0], "height": ["3", 0]}

    assert found(lay.png({"prompt": lay.as_text(graph)})).fields["steps"] == 30


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 40,
        lay.png({})[:100],
        b"\xff\xd8\xff" + b"x" * 50,
        b"GIF89a",
        lay.png({})[:16] + (60_000).to_bytes(4) + (60_000).to_bytes(4) + lay.png({})[24:],
    ],
    ids=["empty", "no header", "cut off", "no jpeg", "gif", "bomb"],
)
def test_a_broken_picture_or_a_bomb_is_refused_in_words(data: bytes) -> None:
    with pytest.raises(ConfigError):
        texts.open_picture(data)
