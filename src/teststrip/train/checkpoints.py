"""Checkpoints: whole or not there, and never with a number in them that is none.

checkpoints/<step>/pytorch_lora_weights.safetensors   the adapter, in diffusers' layout
checkpoints/<step>/checkpoint.json                    what it came from
checkpoints/<step>/state/                             what resuming needs, of the newest ones
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from teststrip.errors import StorageError, StudyError
from teststrip.files import storage_error
from teststrip.train.tensor_file import tensor_bytes

FORMAT = 1
WEIGHTS, META = "pytorch_lora_weights.safetensors", "checkpoint.json"
STATE, NUMBERS = "state", "state.json"
ADAPTER_METADATA = "lora_adapter_metadata"  # diffusers' key in the file's header
State = tuple[Mapping[str, Mapping[str, Tensor]], Mapping[str, Any]]


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint of a run. `meta`: the content of checkpoint.json."""

    step: int
    folder: Path
    weights: Path
    meta: dict[str, Any]

    @property
    def has_state(self) -> bool:
        """Can training go on from here?"""
        return (self.folder / STATE / NUMBERS).is_file()


def checkpoints(run_folder: Path) -> list[Checkpoint]:
    """All whole checkpoints of a run, by step. What is damaged or half-written is left out."""
    found = []
    for folder in (run_folder / "checkpoints").glob("[0-9]*"):
        try:
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
            step = int(meta["step"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if (folder / WEIGHTS).is_file():
            found.append(Checkpoint(step, folder, folder / WEIGHTS, meta))
    return sorted(found, key=lambda checkpoint: checkpoint.step)


def write(  # noqa: PLR0917 - all that a checkpoint is
    run_folder: Path,
    step: int,
    weights: Mapping[str, Tensor],
    adapter: Mapping[str, Any],
    meta: Mapping[str, Any],
    state: State | None = None,
    keep: int = 1,
) -> Checkpoint:
    """Write a checkpoint beside its place, look at it, then rename it.

    `weights` with diffusers' keys (`unet.....lora_A.weight`), `adapter` peft's config with the same
    prefixes. `state`: tensors by file and numbers for JSON. States of all but the newest `keep`
    checkpoints are deleted. Raises StudyError where a weight is not finite, StorageError where the
    disk refuses; neither leaves anything behind.
    """
    bad = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise StudyError(
            f"step {step}: {len(bad)} of {len(weights)} weights are not finite ({bad[0]}, ...); "
            "this checkpoint was not written"
        )
    home = run_folder / "checkpoints"
    place, part = home / f"{step:06d}", home / f".{step:06d}-part"
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        _save(part / WEIGHTS, weights, _header(adapter))
        whole = {"format": FORMAT, "step": step} | dict(meta)
        whole["sha256"] = hashlib.sha256((part / WEIGHTS).read_bytes()).hexdigest()
        _write(part / META, json.dumps(whole, indent=1, ensure_ascii=False))
        if state is not None:
            (part / STATE).mkdir()
            for name, tensors in state[0].items():
                _save(part / STATE / f"{name}.safetensors", tensors, {"format": "pt"})
            _write(part / STATE / NUMBERS, json.dumps(state[1]))
        _rename(part, place)
    except (OSError, SafetensorError) as exc:
        shutil.rmtree(part, ignore_errors=True)
        if isinstance(exc, SafetensorError):
            raise StorageError(f"{place}: cannot be written: {exc}; is the disk full?") from exc
        raise storage_error(place, exc) from exc
    found = checkpoints(run_folder)
    for old in [c for c in found if c.has_state][:-keep]:
        shutil.rmtree(old.folder / STATE, ignore_errors=True)
    return next(c for c in found if c.step == step)


def read_state(checkpoint: Checkpoint) -> State:
    """Tensors by file and numbers, as `write` was given them. Raises StorageError."""
    folder = checkpoint.folder / STATE
    try:
        numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        tensors = {file.stem: load_file(file) for file in sorted(folder.glob("*.safetensors"))}
    except (OSError, ValueError, SafetensorError) as exc:
        raise StorageError(
            f"{folder}: cannot be read ({exc}); delete {checkpoint.folder} to resume from the "
            "checkpoint before it"
        ) from exc
    return tensors, numbers


def _header(adapter: Mapping[str, Any]) -> dict[str, str]:
    plain = {key: sorted(v) if isinstance(v, set) else v for key, v in adapter.items()}
    return {"format": "pt", ADAPTER_METADATA: json.dumps(plain, indent=2, sort_keys=True)}


def _save(path: Path, tensors: Mapping[str, Tensor], header: dict[str, str]) -> None:
    owned = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    path.write_bytes(tensor_bytes(owned, header))
    _sync(path)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    _sync(path)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rename(part: Path, place: Path) -> None:
    """A checkpoint that is there already (made again after going back) is replaced."""
    old = place.with_name(f".{place.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    part.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    _sync(place.parent)
