"""A model that cannot be opened is refused with one clear message."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from teststrip import Block, Engine, Generation, Lora, Recipe, Request, png
from teststrip.engine import EnginePool
from teststrip.errors import ConfigError, ModelError


def test_a_missing_folder_names_what_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder; accepted: a diffusers folder"):
        Engine.open(str(tmp_path / "nowhere"))


def test_a_folder_that_is_no_diffusers_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model_index\.json"):
        Engine.open(str(tmp_path))


def test_another_pipeline_class_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))

    with pytest.raises(ModelError, match="FluxPipeline"):
        Engine.open(str(copy))


def test_a_torn_index_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "model_index.json").write_text("{")

    with pytest.raises(ModelError, match="cannot be read"):
        Engine.open(str(copy))


def test_pickle_weights_are_refused_unless_trusted(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    copy = shutil.copytree(folder, tmp_path / "copy")
    safe = copy / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(safe), copy / "unet" / "diffusion_pytorch_model.bin")
    safe.unlink()

    with pytest.raises(ModelError, match="pickle"):
        Engine.open(str(copy))
    with Engine.open(str(copy), allow_pickle=True, dtype="fp32", device="cpu") as trusted:
        assert trusted.default_recipe.model == str(copy)


def test_broken_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "vae" / "diffusion_pytorch_model.safetensors").write_bytes(b"no weights")

    with pytest.raises(ModelError, match="cannot be loaded"):
        Engine.open(str(copy))


def test_an_unknown_device_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="not available"):
        Engine.open(str(folder), device="cuda:7")


def test_the_models_own_default_recipe_is_used(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    (copy / "teststrip.json").write_text('{"default_recipe": {"steps": 9, "scheduler": "ddim"}}')

    with Engine.open(str(copy), dtype="fp32", device="cpu") as engine:
        assert engine.default_recipe == Recipe(model=str(copy), steps=9, scheduler="ddim")


def test_other_weights_have_another_fingerprint(folder: Path, tmp_path: Path) -> None:
    from teststrip.engine.loading import fingerprint
    from teststrip.testing.tiny import tiny_pipeline

    same = shutil.copytree(folder, tmp_path / "same")
    other = tiny_pipeline(tmp_path / "other", seed=1)

    assert fingerprint(same) == fingerprint(folder) != fingerprint(other)


@pytest.fixture
def lora(pipe: Any, tmp_path: Path) -> Path:
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = type(pipe).from_pretrained(pipe.config._name_or_path)
    pipe.unet.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"]))
    torch.manual_seed(3)
    for name, parameter in pipe.unet.named_parameters():
        if "lora" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    layers = get_peft_model_state_dict(pipe.unet)
    pipe.save_lora_weights(tmp_path, unet_lora_layers=layers, safe_serialization=True)
    return tmp_path / "pytorch_lora_weights.safetensors"


def test_a_lora_acts_as_in_the_plain_pipeline_and_leaves_no_trace(
    folder: Path, lora: Path, pipe: Any, engine: Engine
) -> None:
    from teststrip.testing.plain import pixels_of

    block = Block(prompt="a cat", seed=4)
    without = Request(recipe=Recipe(model=str(folder), steps=4), block=block)
    strong = without.model_copy(
        update={"recipe": without.recipe.changed(loras=[Lora(path=str(lora), scale=0.8)])}
    )
    with_lora = type(pipe).from_pretrained(folder)
    with_lora.set_progress_bar_config(disable=True)
    with_lora.load_lora_weights(lora.parent, weight_name=lora.name, adapter_name="a")
    with_lora.set_adapters(["a"], [0.8])

    made = {out.request: out.png for out in engine.generate([without, strong, without])}

    assert abs(png.pixels(made[strong]).astype(int) - pixels_of(with_lora, strong)).max() <= 1
    assert (png.pixels(made[without]) == pixels_of(pipe, without)).all()
    assert (png.pixels(made[without]) != png.pixels(made[strong])).any()


def test_a_lora_that_is_none_fails_its_own_requests_only(
    folder: Path, engine: Engine, tmp_path: Path
) -> None:
    block = Block(prompt="a cat", seed=4)
    good = Request(recipe=Recipe(model=str(folder), steps=2), block=block)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"no weights")
    paths = ["/nowhere/x.bin", "/nowhere/x.safetensors", str(torn)]
    bad = [
        Request(recipe=good.recipe.changed(loras=[Lora(path=path)]), block=block) for path in paths
    ]

    outcomes = {out.request: out for out in engine.generate([*bad, good])}

    assert isinstance(outcomes[good], Generation)
    reasons = [outcomes[one].reason for one in bad]  # type: ignore[union-attr]
    assert "pickle" in reasons[0]
    assert "no such file" in reasons[1]
    assert "cannot be loaded" in reasons[2]


def test_a_pool_opens_what_recipes_ask_for(folder: Path, tmp_path: Path) -> None:
    from teststrip.testing.tiny import tiny_pipeline

    other = tiny_pipeline(tmp_path / "other", seed=1)
    block = Block(prompt="a cat", seed=4)
    recipes = [
        Recipe(model=str(model), steps=2, dtype=dtype)
        for model in (folder, other)
        for dtype in ("fp32", "bf16")
    ]
    pool = EnginePool(device="cpu")

    keys = {out.image_key for out in pool.generate(Request(recipe=r, block=block) for r in recipes)}
    prints = {pool.fingerprint(recipe) for recipe in recipes}
    pool.close()
    pool.close()

    assert len(keys) == len(prints) == 4
