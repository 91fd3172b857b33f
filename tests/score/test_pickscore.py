import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from teststrip import Generation, png
from teststrip.score.pickscore import MODEL, PROCESSOR, PickOptions, PickScorer
from teststrip.score.preprocess import Preprocess

Make = Callable[..., Generation]


def test_it_is_the_logit_of_the_plain_model(clip_folder: Path, make: Make) -> None:
    """The published code: logit_scale.exp() * text_embs @ image_embs.T, which is the logit."""
    generation = make(prompt="a blue owl")
    model, tokenizer = (
        CLIPModel.from_pretrained(clip_folder),
        CLIPTokenizer.from_pretrained(clip_folder),
    )
    preprocess = Preprocess.from_file(clip_folder / "preprocessor_config.json")
    pixels = torch.from_numpy(preprocess(png.pixels(generation.png)))[None]
    with torch.inference_mode():
        expected = model(pixel_values=pixels, **tokenizer(["a blue owl"], return_tensors="pt"))

    scorer = PickScorer(model=str(clip_folder))

    found = scorer.score([generation])[0][scorer.column]
    assert found == pytest.approx(float(expected.logits_per_image), abs=1e-4)
    assert scorer.column.startswith("pickscore:tiny-clip@")


def test_the_learned_scale_is_used(tmp_path: Path, save: Callable[..., Path], make: Make) -> None:
    small = PickScorer(model=str(save(tmp_path / "a", logit_scale=math.log(10))))
    large = PickScorer(model=str(save(tmp_path / "b", logit_scale=math.log(100))))

    low, high = (s.score([make()])[0][s.column] for s in (small, large))

    assert high == pytest.approx(10 * low, rel=1e-4)


def test_the_published_weights_use_the_processor_of_their_base_model() -> None:
    assert PickOptions().model == MODEL
    assert PickOptions().processor == PROCESSOR
    assert PickOptions(model="elsewhere").processor is None
    assert PickOptions(processor="mine").processor == "mine"


def test_the_processor_may_lie_in_a_folder_of_its_own(
    clip_folder: Path, tmp_path: Path, save: Callable[..., Path], make: Make
) -> None:
    weights = save(tmp_path / "weights")
    for file in ("preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"):
        (weights / file).unlink()

    apart = PickScorer(model=str(weights), processor=str(clip_folder))
    together = PickScorer(model=str(clip_folder))

    assert list(apart.score([make()])[0].values()) == list(together.score([make()])[0].values())
