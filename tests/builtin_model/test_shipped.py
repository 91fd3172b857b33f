"""The shipped model folders are small, safe, licensed, and draw what they are asked."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

MODELS = Path(__file__).parents[2] / "src" / "teststrip" / "models"
BUILTIN, CLIP = MODELS / "builtin", MODELS / "clip_small"
WEIGHT_SUFFIXES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".safetensors", ".onnx", ".msgpack"}


def megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6


@pytest.fixture(scope="module")
def recipe() -> dict:
    return json.loads((BUILTIN / "teststrip.json").read_text())["default_recipe"]


@pytest.fixture(scope="module")
def pipe():
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(BUILTIN, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.parametrize(("folder", "limit_mb"), [(BUILTIN, 25), (CLIP, 6)])
def test_folder_is_small_and_holds_only_safetensors_weights(folder, limit_mb):
    weights = [p for p in folder.rglob("*") if p.suffix in WEIGHT_SUFFIXES]

    assert megabytes(folder) <= limit_mb
    assert weights
    assert {p.suffix for p in weights} == {".safetensors"}


def test_licence_of_the_drawings_is_shipped():
    text = (MODELS / "LICENSE-NOTO-EMOJI").read_text(encoding="utf-8")

    assert "SIL OPEN FONT LICENSE" in text.upper()
    assert "Apache" in text


def test_metadata_names_at_least_120_objects_and_all_are_single_meaning():
    card = json.loads((BUILTIN / "teststrip.json").read_text())

    assert len(set(card["objects"])) == len(card["objects"]) >= 120
    assert len(card["backgrounds"]) >= 10
    assert not set(card["caption_forms"]) & set(card["held_out_caption_forms"])


def test_every_caption_word_is_one_token(pipe):
    card = json.loads((BUILTIN / "teststrip.json").read_text())
    words = {w for name in (*card["objects"], *card["backgrounds"]) for w in name.split()}

    split = [w for w in sorted(words) if len(pipe.tokenizer(w).input_ids) != 3]

    assert not split


def test_asked_background_is_the_dominant_colour(pipe, recipe):
    images = pipe(
        ["a flat icon of a small panda on a green background"] * 2,
        num_inference_steps=recipe["steps"],
        guidance_scale=recipe["guidance"],
        generator=[torch.Generator().manual_seed(seed) for seed in (0, 1)],
        output_type="np",
    ).images

    assert images.shape == (2, 64, 64, 3)
    assert np.isfinite(images).all()
    border = np.concatenate([images[:, :4], images[:, -4:]], axis=1).reshape(2, -1, 3)
    red, green, blue = np.moveaxis(np.median(border, axis=1), -1, 0)
    assert (green > red + 0.15).all()
    assert (green > blue + 0.1).all()


def test_same_seed_draws_the_same_image(pipe):
    def draw():
        return pipe(
            "a sticker of an owl on a blue background",
            num_inference_steps=4,
            generator=torch.Generator().manual_seed(3),
            output_type="np",
        ).images

    assert np.array_equal(draw(), draw())


def test_scorer_prefers_the_right_caption(pipe, recipe):
    clip = transformers.CLIPModel.from_pretrained(CLIP).float().eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(CLIP)
    settings = json.loads((CLIP / "preprocessor_config.json").read_text())
    things = ["apple", "penguin", "house", "umbrella"]
    captions = [f"a flat icon of a large {name} on a yellow background" for name in things]

    images = pipe(
        captions,
        num_inference_steps=recipe["steps"],
        guidance_scale=recipe["guidance"],
        generator=[torch.Generator().manual_seed(seed) for seed in range(4)],
        output_type="np",
    ).images
    pixels = (images - settings["image_mean"]) / settings["image_std"]
    tokens = tokenizer(captions, padding="max_length", return_tensors="pt")
    with torch.no_grad():
        scores = clip(
            input_ids=tokens.input_ids,
            pixel_values=torch.from_numpy(pixels).permute(0, 3, 1, 2).float(),
        ).logits_per_image

    assert scores.shape == (4, 4)
    assert (scores.argmax(dim=1) == torch.arange(4)).sum() >= 3
