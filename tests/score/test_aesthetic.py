from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPModel

from teststrip import Generation, png
from teststrip.errors import ConfigError, ModelError
from teststrip.score.aesthetic import AestheticScorer, read_head
from teststrip.score.preprocess import Preprocess

Make = Callable[..., Generation]
WIDTH = 16


def version_1() -> nn.Module:
    """LAION-AI/aesthetic-predictor: m = nn.Linear(768, 1)."""
    return nn.Linear(WIDTH, 1)


def version_2() -> nn.Module:
    """improved-aesthetic-predictor's MLP, narrower: its layers attribute is this Sequential."""
    model = nn.Module()
    model.layers = nn.Sequential(
        nn.Linear(WIDTH, 12), nn.Dropout(0.2), nn.Linear(12, 8), nn.Dropout(0.2),
        nn.Linear(8, 6), nn.Dropout(0.1), nn.Linear(6, 4), nn.Linear(4, 1),
    )  # fmt: skip
    model.forward = model.layers.forward  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize("build", [version_1, version_2])
def test_it_equals_the_head_on_the_plain_models_unit_vector(
    build: Callable[[], nn.Module], clip_folder: Path, tmp_path: Path, make: Make
) -> None:
    torch.manual_seed(5)
    head, generation = build().eval(), make()
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    pixels = Preprocess.from_file(clip_folder / "preprocessor_config.json")(
        png.pixels(generation.png)
    )
    with torch.inference_mode():
        vector = CLIPModel.from_pretrained(clip_folder).get_image_features(
            pixel_values=torch.from_numpy(pixels)[None]
        )
        vector = getattr(vector, "pooler_output", vector)
        expected = float(head(vector / vector.norm(dim=-1, keepdim=True)))

    scorer = AestheticScorer(model=str(clip_folder), head=tmp_path / "head.safetensors")

    assert scorer.score([generation])[0][scorer.column] == pytest.approx(expected, abs=1e-5)


def test_the_prompt_plays_no_part(clip_folder: Path, tmp_path: Path, make: Make) -> None:
    save_file(version_1().state_dict(), tmp_path / "head.safetensors")
    scorer = AestheticScorer(model=str(clip_folder), head=tmp_path / "head.safetensors")

    assert scorer.score([make(prompt="a cat")]) == scorer.score([make(prompt="a dog")])


def test_the_column_names_head_and_model(clip_folder: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_file(version_1().state_dict(), tmp_path / f"{name}.safetensors")
    columns = [
        AestheticScorer(model=str(clip_folder), head=tmp_path / f"{name}.safetensors").column
        for name in ("a", "b")
    ]

    assert columns[0].startswith("aesthetic:a@")
    assert columns[0].removeprefix("aesthetic:a@") != columns[1].removeprefix("aesthetic:b@")


def test_layers_are_taken_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    tensors = {}
    for number, (wide, narrow) in {0: (4, 3), 2: (3, 2), 10: (2, 1)}.items():
        tensors |= {f"layers.{number}.weight": torch.ones(narrow, wide)}
        tensors |= {f"layers.{number}.bias": torch.zeros(narrow)}
    save_file(tensors, tmp_path / "head.safetensors")

    shapes = [tuple(weight.shape) for weight, _ in read_head(tmp_path / "head.safetensors")]

    assert shapes == [(3, 4), (2, 3), (1, 2)]


def test_pickle_heads_are_refused_with_the_way_to_convert(tmp_path: Path) -> None:
    torch.save(version_1().state_dict(), tmp_path / "head.pth")

    with pytest.raises(ModelError, match=r"can run code.*python -c .*save_file"):
        AestheticScorer(head=tmp_path / "head.pth")


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        ({"weight": torch.ones(2, 16), "bias": torch.ones(2)}, "end in one number"),
        ({"weight": torch.ones(1, 16)}, "no bias"),
        ({"other": torch.ones(1)}, "end in one number"),
        (
            {"0.weight": torch.ones(3, 16), "0.bias": torch.ones(3),
             "1.weight": torch.ones(1, 4), "1.bias": torch.ones(1)},
            "end in one number",
        ),
    ],
)  # fmt: skip
def test_a_head_that_does_not_chain_is_refused(
    tensors: dict[str, torch.Tensor], fault: str, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "head.safetensors")

    with pytest.raises(ModelError, match=fault):
        read_head(tmp_path / "head.safetensors")


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "head.safetensors").write_bytes(b"no")

    with pytest.raises(ModelError, match="no safetensors file"):
        read_head(tmp_path / "head.safetensors")
    with pytest.raises(ModelError, match="no safetensors file"):
        read_head(tmp_path / "missing.safetensors")


def test_a_head_for_another_model_is_refused(clip_folder: Path, tmp_path: Path, make: Make) -> None:
    save_file(nn.Linear(768, 1).state_dict(), tmp_path / "head.safetensors")
    scorer = AestheticScorer(model=str(clip_folder), head=tmp_path / "head.safetensors")

    with pytest.raises(ModelError, match=r"vectors of 768 numbers, .* gives 16"):
        scorer.score([make()])


def test_the_head_is_needed() -> None:
    with pytest.raises(ConfigError, match="head: Field required"):
        AestheticScorer()
