import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPTokenizer

from teststrip import Generation, png
from teststrip.errors import ModelError
from teststrip.score.clip import ClipScorer
from teststrip.score.clip_model import ClipOptions, ClipTowers
from teststrip.score.model_folder import SHIPPED
from teststrip.score.preprocess import Preprocess

Make = Callable[..., Generation]
PROMPTS = ["a red apple", "two blue birds on a wire", "x"]


def cosines(folder: Path, generations: list[Generation]) -> list[float]:
    """From CLIPModel's own forward, which divides by nothing but the logit scale."""
    model, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    preprocess = Preprocess.from_file(folder / "preprocessor_config.json")
    out = []
    for g in generations:
        ids = tokenizer([g.request.block.prompt], return_tensors="pt")
        pixels = torch.from_numpy(preprocess(png.pixels(g.png)))[None]
        with torch.inference_mode():
            logits = model(pixel_values=pixels, **ids).logits_per_image
        out.append(logits.item() / math.exp(model.logit_scale.item()))
    return out


@pytest.fixture
def pictures(make: Make) -> list[Generation]:
    return [make(seed=i, prompt=prompt) for i, prompt in enumerate(PROMPTS)]


def test_it_is_two_and_a_half_cosines_of_the_plain_model(
    clip_folder: Path, pictures: list[Generation]
) -> None:
    scorer = ClipScorer(model=str(clip_folder))

    found = [scores[scorer.column] for scores in scorer.score(pictures)]

    assert found == pytest.approx([2.5 * c for c in cosines(clip_folder, pictures)], abs=1e-5)


def test_larger_batches_give_the_same_numbers(
    clip_folder: Path, pictures: list[Generation], torn: Generation
) -> None:
    one_by_one = ClipScorer(model=str(clip_folder), batch_size=1)
    batched = ClipScorer(model=str(clip_folder), batch_size=3)
    several = [*pictures, torn, *pictures[::-1]]

    for a, b in zip(one_by_one.score(several), batched.score(several), strict=True):
        assert a == pytest.approx(b, abs=1e-5, nan_ok=True)


def test_the_blocks_own_prompt_is_judged_not_the_templated_one(
    clip_folder: Path, make: Make
) -> None:
    scorer = ClipScorer(model=str(clip_folder))
    template = "a studio photo of {prompt}, masterpiece"

    assert scorer.score([make()]) == scorer.score([make(prompt_template=template)])
    assert scorer.score([make()]) != scorer.score([make(prompt="a green pear")])


def test_a_prompt_beyond_the_text_window_is_cut_recorded_and_logged(
    clip_folder: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    scorer = ClipScorer(model=str(clip_folder))
    short, long = "a" * 70, "a" * 300

    found = scorer.score([make(prompt=long), make(prompt=long + "b"), make(prompt=short)])

    assert np.isfinite(found[0][scorer.column])
    assert found[0] == found[1] != found[2]
    assert scorer.truncated_prompts == {long, long + "b"}
    assert "302 tokens, 77 are read" in caplog.text


def test_truncation_is_that_of_the_tokenizer(clip_folder: Path) -> None:
    towers = ClipTowers.open(ClipOptions(model=str(clip_folder)))
    ids = CLIPTokenizer.from_pretrained(clip_folder)("b" * 300, truncation=True)["input_ids"]

    assert towers._tokens("b" * 300)[0].tolist() == ids


def test_each_prompt_is_encoded_once(clip_folder: Path) -> None:
    towers = ClipTowers.open(ClipOptions(model=str(clip_folder)))

    assert towers.embed_prompt("a cat") is towers.embed_prompt("a cat")
    assert towers.embed_prompt("a cat").norm().item() == pytest.approx(1.0, abs=1e-6)


def test_the_column_names_folder_and_weights(
    clip_folder: Path, tmp_path: Path, save: Callable[..., Path]
) -> None:
    column = ClipScorer(model=str(clip_folder)).column
    copy = shutil.copytree(clip_folder, tmp_path / "tiny-clip")
    other = save(tmp_path / "b" / "tiny-clip", seed=1)

    assert column.startswith("clip:tiny-clip@")
    assert ClipScorer(model=str(copy)).column == column
    assert ClipScorer(model=str(other)).column != column


def test_a_missing_folder_says_what_is_accepted() -> None:
    with pytest.raises(ModelError, match=r"no such folder; accepted: a folder saved by.*hub id"):
        ClipScorer(model="/no/such/folder")


def test_a_folder_that_is_no_clip_is_refused(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "bert")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))

    with pytest.raises(ModelError, match="model_type 'bert'; accepted: 'clip'"):
        ClipScorer(model=str(folder))
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no config\.json there"):
        ClipScorer(model=str(folder))


def test_pickle_weights_are_refused_with_what_to_do(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "old")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(ModelError, match=r"pytorch_model\.bin.*can run code.*save_pretrained"):
        ClipScorer(model=str(folder))


@pytest.mark.parametrize("part", ["model.safetensors", "tokenizer.json"])
def test_a_torn_model_file_is_one_clear_error(
    part: str, clip_folder: Path, tmp_path: Path, make: Make
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "torn")
    (folder / part).write_bytes((folder / part).read_bytes()[:200])

    with pytest.raises(ModelError, match="cannot open it"):
        ClipScorer(model=str(folder)).score([make()])


def test_missing_weights_are_refused_not_drawn_at_random(
    clip_folder: Path, tmp_path: Path, make: Make
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "part")
    tensors = load_file(folder / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match=r"1 weights are missing, such as visual_projection"):
        ClipScorer(model=str(folder)).score([make()])


def test_preprocessing_that_does_not_fit_the_model_is_refused(
    clip_folder: Path, tmp_path: Path, make: Make
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "odd")
    (folder / "preprocessor_config.json").write_text(json.dumps({}))

    with pytest.raises(ModelError, match=r"\(224, 224\) px.*takes 32 x 32"):
        ClipScorer(model=str(folder)).score([make()])


def test_an_unknown_device_is_refused(clip_folder: Path, make: Make) -> None:
    with pytest.raises(ModelError, match="device 'quantum': accepted"):
        ClipScorer(model=str(clip_folder), device="quantum").score([make()])


shipped = pytest.mark.skipif(
    not (SHIPPED / "clip_small" / "config.json").is_file(), reason="the shipped model is not built"
)


@shipped
def test_the_default_is_the_shipped_model(make: Make) -> None:
    scorer = ClipScorer()

    assert scorer.columns == {"clip_small@1": True}
    assert np.isfinite(scorer.score([make()])[0]["clip_small@1"])
