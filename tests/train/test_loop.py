"""The loop trains what it should, and what it writes is what diffusers reads."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from teststrip.errors import ConfigError, MissingExtra, StudyError
from teststrip.train.checkpoints import checkpoints
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.run import start

pytestmark = pytest.mark.usefixtures("one_thread")
Make = Callable[..., TrainConfig]


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(checkpoints(folder)[-1].weights)


def test_a_run_learns_and_says_how_it_stands(tmp_path: Path, config: Make) -> None:
    events = []
    made = config(steps=30, optimizer={"lr": 1e-2}, every={"held_out": 10, "checkpoint": 30})
    result = start(made, tmp_path, track=False, device="cpu", on_event=events.append)
    assert (result.state, result.steps, result.samples_seen) == ("finished", 30, 60)
    val = {row["step"]: row["val_loss"] for row in rows(result.folder) if "val_loss" in row}
    assert sorted(val) == [0, 10, 20, 30]
    assert val[30] < val[0]
    record = RunFolder(result.folder).read()
    assert record["state"] == "finished"
    assert record["base"]["fingerprint"] and record["dataset_hash"]  # noqa: PT018
    assert [e.step for e in events if e.kind == "step"] == list(range(1, 31))
    meta = checkpoints(result.folder)[-1].meta
    assert meta["val_loss"] == val[30]
    assert meta["dataset_hash"] == record["dataset_hash"]
    assert meta["samples_seen"] == 60


def test_a_checkpoint_is_whole_in_diffusers(tmp_path: Path, config: Make) -> None:
    from diffusers import StableDiffusionPipeline

    # Attention and others: diffusers' loader must find the names of both.
    lora = {"text_encoder": True, "alpha": 1, "targets": ["to_q", "to_out.0", "conv1", "proj_in"]}
    made = config(steps=3, optimizer={"lr": 1e-2}, lora=lora)
    result = start(made, tmp_path, track=False, device="cpu")
    pipe = StableDiffusionPipeline.from_pretrained(made.base.model, safety_checker=None)
    before = pipe.unet.state_dict()
    pipe.load_lora_weights(checkpoints(result.folder)[-1].folder, adapter_name="mine")
    assert pipe.unet.peft_config["mine"].lora_alpha == 1
    kept = weights_of(result.folder)
    loaded = {n: p for n, p in pipe.unet.named_parameters() if "lora_" in n}
    loaded_text = [n for n, _ in pipe.text_encoder.named_parameters() if "lora_" in n]
    assert len(loaded) + len(loaded_text) == len(kept)
    assert loaded_text
    name = next(n for n in loaded if n.endswith("to_q.lora_B.mine.weight"))
    stem = name.removesuffix(".lora_B.mine.weight")
    assert torch.equal(loaded[name], kept[f"unet.{stem}.lora_B.weight"])
    assert loaded[name].abs().max() > 0
    assert not any("lora" in key for key in before)


def test_caches_change_no_number(tmp_path: Path, config: Make) -> None:
    more = {"data": {"flip": True, "crops": 2}, "loss": {"caption_dropout": 0.3}, "steps": 6}
    cached = start(config(**more), tmp_path / "a", track=False, device="cpu")
    plain = config(**more, cache={"latents": False, "texts": False})
    bare = start(plain, tmp_path / "b", track=False, device="cpu")
    one, other = weights_of(cached.folder), weights_of(bare.folder)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_accumulated_batches_are_one_large_one_in_samples(tmp_path: Path, config: Make) -> None:
    result = start(config(accumulate=3), tmp_path, track=False, device="cpu")
    assert result.samples_seen == 4 * 2 * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"lora": {"dora": True}},
        {"lora": {"rslora": True, "dropout": 0.2}},
        {"loss": {"snr_gamma": 5, "noise_offset": 0.1}},
        {"ema": 0.9},
        {"gradient_checkpointing": True, "lora": {"text_encoder": True}},
        {"optimizer": {"name": "prodigy", "lr": 1.0}},
        {"optimizer": {"name": "adamw8bit"}},
        {"precision": "bf16"},
        {"rate": {"name": "cosine", "warm_up": 2}},
        {"data": {"buckets": True}},
    ],
    ids="-".join,
)
def test_every_way_to_train_trains(tmp_path: Path, config: Make, changes: dict) -> None:
    result = start(config(**changes), tmp_path, track=False, device="cpu")
    assert result.state == "finished"
    assert result.skipped == 0
    found = weights_of(result.folder)
    assert all(torch.isfinite(tensor).all() for tensor in found.values())
    ups = [t for n, t in found.items() if ".up." in n or "lora_B" in n]
    assert any(t.abs().max() > 0 for t in ups), "nothing was trained"


def test_a_subject_is_trained_beside_its_class(tmp_path: Path, config: Make) -> None:
    subject = {
        "instance_prompt": "a photo of sks thing",
        "class_prompt": "a photo of a thing",
        "class_pictures": 3,
        "prior_weight": 1.0,
    }
    result = start(config(subject=subject), tmp_path, track=False, device="cpu")
    assert result.state == "finished"
    assert RunFolder(result.folder).read()["kind"] == "dreambooth"
    assert len(list((tmp_path / "cache" / "classes").rglob("*.png"))) == 3


def test_a_finished_run_is_left_alone(tmp_path: Path, config: Make) -> None:
    first = start(config(), tmp_path, track=False, device="cpu")
    before = {p: p.stat().st_mtime_ns for p in first.folder.rglob("*") if p.is_file()}
    again = start(config(), tmp_path, track=False, device="cpu")
    before.pop(first.folder / "lock")
    assert again.changed(seconds=first.seconds) == first
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_taken_name_is_refused_with_every_difference(tmp_path: Path, config: Make) -> None:
    start(config(), tmp_path, track=False, device="cpu")
    with pytest.raises(ConfigError, match="another name") as caught:
        start(config(steps=9, batch=1), tmp_path, track=False, device="cpu")
    assert caught.value.faults == ("batch: was 2, now 1", "steps: was 4, now 9")


def test_a_run_that_made_nothing_may_be_mended(tmp_path: Path, config: Make) -> None:
    with pytest.raises(ConfigError, match=r"lora\.targets nothing"):
        start(config(lora={"targets": ["nothing"]}), tmp_path, track=False, device="cpu")
    assert start(config(), tmp_path, track=False, device="cpu").state == "finished"


def test_one_process_at_a_time(tmp_path: Path, config: Make) -> None:
    with (
        RunFolder.of(tmp_path, "run").locked(),
        pytest.raises(StudyError, match="being run by another process"),
    ):
        start(config(), tmp_path, track=False, device="cpu")


def test_two_rates_for_prodigy_are_refused(tmp_path: Path, config: Make) -> None:
    made = config(
        optimizer={"name": "prodigy", "lr": 1.0, "text_encoder_lr": 0.5},
        lora={"text_encoder": True},
    )
    with pytest.raises(ConfigError, match="prodigy finds one rate"):
        start(made, tmp_path, track=False, device="cpu")


def test_a_missing_optimizer_names_its_extra(
    tmp_path: Path, config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prodigyopt", None)
    with pytest.raises(MissingExtra, match=r"teststrip\[optimizers\]"):
        start(config(optimizer={"name": "prodigy"}), tmp_path, track=False, device="cpu")
