"""What is exported makes the checkpoint's picture, read by code that is not ours."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image

from teststrip import Block, Engine, Recipe, Request, png
from teststrip.engine import loading
from teststrip.errors import ConfigError, MissingExtra, ModelError, StorageError, StudyError
from teststrip.testing.plain import pixels_of
from teststrip.testing.tiny import tiny_pipeline
from teststrip.testing.tiny_lora import tiny_lora
from teststrip.train import checkpoints
from teststrip.train.config import TrainConfig
from teststrip.train.export import checks, written
from teststrip.train.export.formats import export
from teststrip.train.export.source import find
from teststrip.train.folder import RunFolder

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "text encoder": {"text_encoder": True, "alpha": 3, "rank": 6},
    "rank-stabilised": {"use_rslora": True, "text_encoder": True},
    "layers that differ": {
        "targets": ("to_q", "to_out.0", "proj_in", "ff.net.2", "conv1", "time_emb_proj"),
        "rank_pattern": {"to_q": 2},
        "alpha_pattern": {"to_out.0": 1},
    },
}
Trained = Callable[..., Path]


@pytest.fixture(scope="module", autouse=True)
def _small_models(one_thread: None) -> None:
    """All tests here."""


@pytest.fixture
def trained(tiny: Path, tmp_path: Path) -> Trained:
    """`trained(name="ink", steps=(100, 200), **lora)`: a run's folder with real checkpoints."""

    def make(name: str = "ink", steps: tuple[int, ...] = (100, 200), **lora: Any) -> Path:
        folder = RunFolder.of(tmp_path, name)
        folder.path.mkdir(parents=True)
        config = TrainConfig.model_validate(
            {"name": name, "base": str(tiny), "data": "pictures", "trigger": "in ink, 墨"}
        ).model_dump(mode="json")
        folder.write(state="finished", config=config)
        pictures = [
            {"name": f"{k}.png", "caption": f"a cat, in ink {k % 2}", "split": split}
            for k, split in enumerate(("train", "train", "train", "held_out"))
        ]
        folder.manifest.write_text(json.dumps({"pictures": pictures}))
        for step in steps:
            file = tiny_lora(tmp_path / "loras" / f"{name}{step}", tiny, seed=step, **lora)
            with safetensors.safe_open(file, "pt") as opened:
                adapter = json.loads(opened.metadata()["lora_adapter_metadata"])
            meta = {
                "base": {
                    "model": str(tiny),
                    "revision": None,
                    "fingerprint": loading.fingerprint(tiny),
                },
                "dataset_hash": "d4ta",
                "trigger": "in ink, 墨",
                "scale": 1.0,
                "config": config,
                "commit": "c0ffee",
            }
            weights = safetensors.torch.load_file(file)
            checkpoints.write(folder.path, step, weights, adapter, meta)
        return tmp_path

    return make


def wanted(base: Path, lora: Path | None = None, scale: float = 1.0) -> Request:
    loras = [{"path": str(lora), "scale": scale}] if lora else []
    recipe = Recipe(model=str(base), steps=3, guidance=3, loras=loras)
    return Request(recipe=recipe, block=Block(prompt="a cat", seed=4))


def ours(base: Path, lora: Path | None = None, scale: float = 1.0) -> np.ndarray:
    with Engine.open(str(base), dtype="fp32", device="cpu") as engine:
        (made,) = engine.generate([wanted(base, lora, scale)])
    return png.pixels(made.png).astype(int)  # type: ignore[union-attr]


def plain(folder: Path) -> Any:
    from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
        StableDiffusionPipeline,
    )

    pipe = StableDiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def read_kohya(pipe: Any, file: Path) -> None:
    """Add a kohya file to a pipeline's weights, by what sd-scripts writes and nothing of ours."""
    tensors = safetensors.torch.load_file(file)
    layers = {}
    for name, module in pipe.unet.named_modules():
        layers["lora_unet_" + name.replace(".", "_")] = module
    for name, module in pipe.text_encoder.named_modules():
        layers["lora_te_text_model_" + name.replace(".", "_")] = module
    names = {key.partition(".")[0] for key in tensors}
    with torch.no_grad():
        for name in names:
            down, up = (tensors.pop(f"{name}.lora_{end}.weight") for end in ("down", "up"))
            scale = tensors.pop(f"{name}.alpha").item() / down.shape[0]
            if down.ndim == 4:
                update = torch.einsum("or,rikl->oikl", up[:, :, 0, 0], down)
            else:
                update = up @ down
            weight = layers[name].weight
            weight += scale * update.reshape(weight.shape)
    assert not tensors


def gap(left: np.ndarray, right: np.ndarray) -> int:
    return int(np.abs(left.astype(int) - right).max())


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
def test_lora_files_make_the_checkpoints_picture_in_other_programs(
    options: dict[str, Any], trained: Trained, tiny: Path, tmp_path: Path
) -> None:
    home = trained(steps=(100,), **options)
    source = find(home, "ink", scale=0.8)

    in_diffusers, in_kohya = (one.path for one in export(source, ["diffusers", "kohya"], tmp_path))

    picture = ours(tiny, source.weights, 0.8)
    by_diffusers, by_hand = plain(tiny), plain(tiny)
    by_diffusers.load_lora_weights(in_diffusers.parent, weight_name=in_diffusers.name)
    read_kohya(by_hand, in_kohya)
    assert gap(pixels_of(by_diffusers, wanted(tiny)), picture) <= 1
    assert gap(pixels_of(by_hand, wanted(tiny)), picture) <= 1
    assert gap(ours(tiny, in_diffusers), picture) <= 1
    assert gap(ours(tiny, in_kohya), picture) <= 1
    assert gap(picture, ours(tiny)) > 1


@pytest.mark.parametrize(
    "options", [{"text_encoder": True}, {"use_dora": True, "text_encoder": True}], ids=str
)
def test_a_merged_model_makes_the_checkpoints_picture(
    options: dict[str, Any], trained: Trained, tiny: Path, tmp_path: Path
) -> None:
    source = find(trained(steps=(100,), **options), "ink", scale=0.8)

    (made,) = export(source, ["merged"], tmp_path)

    picture = ours(tiny, source.weights, 0.8)
    assert gap(ours(made.path), picture) <= 1
    assert gap(pixels_of(plain(made.path), wanted(made.path)), picture) <= 1
    assert json.loads((made.path / "merged.json").read_text())["teststrip.step"] == "100"
    assert made.numbers["difference"] < 1e-5


def test_a_dora_is_right_or_refused(trained: Trained, tiny: Path, tmp_path: Path) -> None:
    home = trained("one", steps=(100,), use_dora=True)
    trained("both", steps=(100,), use_dora=True, text_encoder=True)
    one, both = find(home, "one", scale=0.6), find(home, "both")

    (made,) = export(one, ["diffusers"], tmp_path)
    by_diffusers = plain(tiny)
    by_diffusers.load_lora_weights(made.path.parent, weight_name=made.path.name)
    assert gap(pixels_of(by_diffusers, wanted(tiny)), ours(tiny, one.weights, 0.6)) <= 1
    for source, name in ((one, "kohya"), (one, "comfyui"), (both, "diffusers")):
        with pytest.raises(ConfigError, match="DoRA"):
            export(source, [name], tmp_path / "refused")
    assert not list((tmp_path / "refused").glob("*"))


def test_a_kohya_file_says_what_it_is(trained: Trained, tiny: Path, tmp_path: Path) -> None:
    home = trained(rank=4, alpha=8)
    samples = home / "runs" / "ink" / "samples" / "200"
    samples.mkdir(parents=True)
    Image.new("RGB", (600, 300), "red").save(samples / "a-1.png")
    source = find(home, "ink")

    (first,) = export(source, ["kohya"], tmp_path / "a")
    (again,) = export(source, ["kohya"], tmp_path / "b")

    data = first.path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    notes = json.loads(data[8 : 8 + length])["__metadata__"]
    assert again.path.read_bytes() == data
    assert first.path.name == "ink-000200-kohya.safetensors"
    assert notes["sshs_model_hash"] == hashlib.sha256(data[8 + length :]).hexdigest()
    expected = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "8.0",
        "ss_steps": "200",
        "ss_resolution": "(32, 32)",
        "ss_num_train_images": "3",
        "ss_sd_model_name": str(tiny),
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": "stable-diffusion/lora",
        "modelspec.trigger_phrase": "in ink, 墨",
        "modelspec.prediction_type": "epsilon",
        "modelspec.resolution": "32x32",
        "teststrip.dataset_hash": "d4ta",
        "teststrip.base_fingerprint": loading.fingerprint(tiny),
        "teststrip.weights_sha256": hashlib.sha256(source.data).hexdigest(),
    }
    assert notes.items() >= expected.items()
    tags = json.loads(notes["ss_tag_frequency"])
    assert tags == {"ink": {"a cat": 3, "in ink 0": 2, "in ink 1": 1}}
    assert notes["modelspec.thumbnail"].startswith("data:image/jpeg;base64,")
    whole = b"".join(t.numpy().tobytes() for _, t in sorted(safetensors.torch.load(data).items()))
    assert notes["modelspec.hash_sha256"] == f"0x{hashlib.sha256(whole).hexdigest()}"


def test_sizes_of_stable_diffusion_are_named_in_the_metadata() -> None:
    from teststrip.train.export.metadata import _family

    theirs = {"block_out_channels": [320, 640, 1280, 1280]}
    assert _family(theirs | {"cross_attention_dim": 768}) == "v1"
    assert _family(theirs | {"cross_attention_dim": 1024}) == "v2"
    assert _family({"block_out_channels": [64, 96], "cross_attention_dim": 768}) == ""


def test_the_selected_checkpoint_is_taken_at_its_scale_else_the_newest(trained: Trained) -> None:
    home = trained()
    newest = find(home, "ink")
    RunFolder.of(home, "ink").write(selected={"step": 100, "scale": 0.5, "why": "best of two"})
    selected, asked = find(home, "ink"), find(home, "ink", step=200)

    assert (newest.step, newest.scale, newest.stem) == (200, 1.0, "ink-000200")
    assert newest.chosen == "the newest; none was selected"
    assert (selected.step, selected.scale, selected.stem) == (100, 0.5, "ink-000100-s0.5")
    assert "best of two" in selected.chosen
    assert (asked.step, asked.scale) == (200, 1.0)


def test_wrong_use_is_one_clear_message_and_nothing_is_written(
    trained: Trained, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = trained()
    source = find(home, "ink")
    out = tmp_path / "out"

    with pytest.raises(StudyError, match="no training run 'none'"):
        find(home, "none")
    with pytest.raises(ConfigError, match="not among the checkpoints of ink: 100, 200"):
        find(home, "ink", step=150)
    with pytest.raises(ConfigError, match="base model, without a LoRA"):
        find(home, "ink", step=0)
    with pytest.raises(ConfigError, match="without 0"):
        find(home, "ink", scale=0)
    with pytest.raises(ConfigError, match="accepted: diffusers, kohya"):
        export(source, ["onyx"], out)
    monkeypatch.setattr(checks, "LIMIT", -1.0)
    monkeypatch.setattr(checks.compare, "__defaults__", (-1.0,))
    for name in ("diffusers", "merged"):
        with pytest.raises(StudyError, match="gives other numbers than the checkpoint"):
            export(source, [name], out)
    assert not [path for path in out.rglob("*") if path.is_file()]
    monkeypatch.undo()

    (out / "ink-000200-merged").mkdir(parents=True)
    with pytest.raises(ConfigError, match="in the way"):
        export(source, ["merged"], out)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        export(source, ["kohya"], tmp_path / "file" / "inside")

    weights = source.weights.read_bytes()
    source.weights.write_bytes(weights[:-1] + b"\x01")
    with pytest.raises(StorageError, match="not the file that was written"):
        find(home, "ink")
    source.weights.write_bytes(weights)
    kept = shutil.copytree(tiny, tmp_path / "kept")
    try:
        shutil.rmtree(tiny)
        tiny_pipeline(tiny, seed=9)
        with pytest.raises(ModelError, match="not the one that this was trained on"):
            find(home, "ink")
    finally:
        shutil.rmtree(tiny)
        shutil.copytree(kept, tiny)
    shutil.rmtree(source.folder.checkpoints)
    with pytest.raises(StudyError, match="has no checkpoint"):
        find(home, "ink")


def test_a_file_that_other_programs_read_otherwise_is_not_written(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = find(trained(steps=(100,)), "ink")
    right = written.kohya_file

    def twice_as_strong(*args: Any) -> bytes:
        tensors = safetensors.torch.load(right(*args))
        changed = {k: v * 2 if k.endswith("alpha") else v for k, v in tensors.items()}
        return safetensors.torch.save(changed)

    monkeypatch.setattr(written, "kohya_file", twice_as_strong)
    with pytest.raises(StudyError, match="format kohya: read back it gives other numbers"):
        export(source, ["kohya"], tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_a_folder_of_an_earlier_export_is_replaced(trained: Trained, tmp_path: Path) -> None:
    source = find(trained(steps=(100,)), "ink")
    (first,) = export(source, ["merged"], tmp_path / "out")
    (first.path / "left over").write_text("")

    (again,) = export(source, ["merged"], tmp_path / "out")

    assert again.path == first.path
    assert not (again.path / "left over").exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == [first.path.name]


def test_without_onnx_the_missing_part_is_named(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr(
        util, "find_spec", lambda name, *a: None if name == "onnxscript" else real(name, *a)
    )
    source = find(trained(steps=(100,)), "ink")

    with pytest.raises(MissingExtra, match=r"onnxscript.*teststrip\[onnx\]"):
        export(source, ["onnx"], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.slow
@pytest.mark.timeout(1800)  # torch.export is half a minute of Python, more on a busy machine
@pytest.mark.parametrize("options", [{}, {"use_dora": True}], ids=str)
def test_an_onnx_unet_gives_the_checkpoints_numbers_and_image(
    options: dict[str, Any], trained: Trained, tiny: Path, tmp_path: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    source = find(trained(steps=(100,), **options), "ink", scale=0.8)

    (made,) = export(source, ["onnx"], tmp_path / "out")

    assert made.numbers["unet_difference"] < 1e-4
    assert made.numbers["image_psnr_db"] > 60
    assert {path.name for path in made.path.iterdir()} == {
        *("model.onnx", "model.onnx.data", "onnx.json", "torch.png", "onnx.png")
    }
    session = onnxruntime.InferenceSession(str(made.path / "model.onnx"))
    hidden, expected = checks.expected(source)
    latents = torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    inputs = {
        "sample": latents.numpy(),
        "timestep": np.array([700, 100], np.float32),
        "encoder_hidden_states": hidden.repeat(2, 1, 1).numpy(),
    }
    (got,) = session.run(None, inputs)
    assert np.abs(got - expected.numpy()).max() < 1e-4
