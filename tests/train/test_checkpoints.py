"""Checkpoints are whole or not there, finite, and keep only the newest states."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from teststrip.errors import StorageError, StudyError
from teststrip.train import checkpoints
from teststrip.train.checkpoints import read_state, write

WEIGHTS = {"unet.to_q.lora_A.weight": torch.ones(2, 3)}
STATE = ({"adapter": {"a": torch.arange(3.0)}}, {"step": 1, "rate": 0.1})


def _write(folder: Path, step: int, **more: object) -> checkpoints.Checkpoint:
    return write(folder, step, WEIGHTS, {"unet.r": 2}, {"val_loss": None}, **more)


def test_a_checkpoint_names_its_weights_by_content(tmp_path: Path) -> None:
    made = _write(tmp_path, 20)
    assert made.folder == tmp_path / "checkpoints" / "000020"
    assert made.meta["sha256"] == hashlib.sha256(made.weights.read_bytes()).hexdigest()
    assert made.meta["step"] == 20
    assert not made.has_state


def test_the_same_weights_are_the_same_file(tmp_path: Path) -> None:
    """The library draws the order of a file's metadata anew at each call."""
    made = {_write(tmp_path / str(number), 20).weights.read_bytes() for number in range(24)}
    assert len(made) == 1
    with safe_open(_write(tmp_path / "read", 20).weights, "pt") as file:
        assert json.loads(file.metadata()[checkpoints.ADAPTER_METADATA]) == {"unet.r": 2}
        assert torch.equal(file.get_tensor(*WEIGHTS), *WEIGHTS.values())


def test_they_come_by_step_and_half_written_ones_do_not(tmp_path: Path) -> None:
    for step in (300, 20, 1000000):
        _write(tmp_path, step)
    (tmp_path / "checkpoints" / ".000400-part").mkdir()
    (tmp_path / "checkpoints" / "000500").mkdir()
    (tmp_path / "checkpoints" / "000500" / "checkpoint.json").write_text('{"step": 50')
    assert [c.step for c in checkpoints.checkpoints(tmp_path)] == [20, 300, 1000000]


def test_a_state_comes_back_bit_for_bit_and_only_the_newest_stay(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        _write(tmp_path, step, state=STATE, keep=2)
    found = checkpoints.checkpoints(tmp_path)
    assert [c.has_state for c in found] == [False, True, True]
    tensors, numbers = read_state(found[-1])
    assert torch.equal(tensors["adapter"]["a"], STATE[0]["adapter"]["a"])
    assert numbers == STATE[1]


def test_a_checkpoint_made_again_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    _write(tmp_path, 1)
    again = write(tmp_path, 1, {"unet.x": torch.zeros(1)}, {}, {"val_loss": 2.0})
    assert again.meta["val_loss"] == 2.0
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["000001"]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_never_written(tmp_path: Path, bad: float) -> None:
    with pytest.raises(StudyError, match="not finite"):
        write(tmp_path, 1, {"unet.x": torch.tensor([1.0, bad])}, {}, {})
    assert list(tmp_path.rglob("*")) == []


def test_a_full_disk_leaves_the_old_checkpoint_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, 1, state=STATE)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def full(path: Path, text: str) -> None:
        path.write_text(text[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_write", full)
    with pytest.raises(StorageError, match="the disk is full"):
        _write(tmp_path, 2, state=STATE)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_a_damaged_state_is_said_so(tmp_path: Path) -> None:
    made = _write(tmp_path, 1, state=STATE)
    (made.folder / "state" / "adapter.safetensors").write_bytes(b"torn")
    with pytest.raises(StorageError, match=r"delete .*000001"):
        read_state(made)


def test_the_header_holds_the_adapters_config(tmp_path: Path) -> None:
    from safetensors import safe_open

    made = write(tmp_path, 1, WEIGHTS, {"unet.targets": {"b", "a"}}, {})
    with safe_open(made.weights, "pt") as file:
        assert json.loads(file.metadata()["lora_adapter_metadata"]) == {"unet.targets": ["a", "b"]}
