"""Which checkpoint is exported, at which scale, and what is known of it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teststrip.engine import loading
from teststrip.engine.adapter_files import Adapter
from teststrip.errors import ConfigError, ModelError, StorageError, StudyError
from teststrip.train.checkpoints import checkpoints
from teststrip.train.folder import RunFolder

NEWEST = "the newest; none was selected"


@dataclass(frozen=True)
class Source:
    """A checkpoint to be exported.

    `meta`: content of checkpoint.json. `run`: content of run.json. `scale`: how strongly the LoRA
    acts in what is written. `chosen`: why this step and scale, in words. `base`: the base model's
    folder here, whose content is the one that was trained on.
    """

    name: str
    step: int
    weights: Path
    data: bytes = field(repr=False)
    scale: float
    chosen: str
    base: Path
    meta: Mapping[str, Any] = field(repr=False)
    run: Mapping[str, Any] = field(repr=False)
    folder: RunFolder = field(repr=False)

    @property
    def config(self) -> Mapping[str, Any]:
        """The training's settings; empty where the checkpoint does not say them."""
        return self.meta.get("config") or {}

    @property
    def trigger(self) -> str:
        """Words that call what was learned."""
        return str(self.meta.get("trigger") or "")

    @property
    def stem(self) -> str:
        """What files are called: `ink-000400`, `ink-000400-s0.8` at another scale than 1."""
        scale = "" if self.scale == 1 else f"-s{self.scale:g}"
        return f"{self.name}-{self.step:06d}{scale}"

    @property
    def adapter(self) -> Adapter:
        """The checkpoint as the engine takes it."""
        digest = hashlib.sha256(self.data).hexdigest()
        return Adapter(digest, self.scale, self.weights)


def find(home: Path, name: str, step: int | None = None, scale: float | None = None) -> Source:
    """A run's checkpoint: `step`, else the selected one, else the newest.

    Raises StudyError without a run or checkpoint, ConfigError for a step that is not there,
    StorageError for weights that are not those that were written, ModelError for a base model
    that is not here or not the one that was trained on.
    """
    folder = RunFolder.of(home, name)
    run = folder.read()
    found = {c.step: c for c in checkpoints(folder.path)}
    if not found:
        raise StudyError(
            f"training run {name!r}: has no checkpoint yet; teststrip train resume {name}"
        )
    selected = run.get("selected") or {}
    chosen = "as asked for"
    if step is None and selected.get("step") in found:
        step, chosen = (
            int(selected["step"]),
            f"selected: {selected.get('why') or 'no reason given'}",
        )
    elif step is None:
        step, chosen = max(found), NEWEST
    if step not in found:
        steps = ", ".join(str(s) for s in found)
        base = " (step 0 is the base model, without a LoRA)" if step == 0 else ""
        raise ConfigError(f"--step {step}: not among the checkpoints of {name}: {steps}{base}")
    if scale is None:
        is_selected = selected.get("step") == step and selected.get("scale") is not None
        scale = float(selected["scale"] if is_selected else found[step].meta.get("scale", 1.0))
    if not 0 < abs(scale) <= 10:
        raise ConfigError(f"--scale {scale:g}: accepted is -10 to 10, without 0")
    meta = found[step].meta
    return Source(
        name=name,
        step=step,
        weights=found[step].weights,
        data=_read(found[step].weights, meta),
        scale=scale,
        chosen=chosen,
        base=_base(meta),
        meta=meta,
        run=run,
        folder=folder,
    )


def captions(source: Source) -> list[str]:
    """Captions of the pictures that were trained on; empty where the manifest is gone."""
    try:
        pictures = json.loads(source.folder.manifest.read_text(encoding="utf-8"))["pictures"]
        return [str(p["caption"]) for p in pictures if p.get("split") == "train"]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _read(weights: Path, meta: Mapping[str, Any]) -> bytes:
    try:
        data = weights.read_bytes()
    except OSError as exc:
        raise StorageError(f"{weights}: cannot be read: {exc.strerror or exc}") from exc
    if meta.get("sha256") not in (None, hashlib.sha256(data).hexdigest()):
        raise StorageError(
            f"{weights}: is not the file that was written (its SHA-256 differs from "
            "checkpoint.json); take another checkpoint"
        )
    return data


def _base(meta: Mapping[str, Any]) -> Path:
    base = meta.get("base") or {}
    folder = Path(loading.find_folder(str(base.get("model") or "builtin"), base.get("revision")))
    now, was = loading.fingerprint(folder), base.get("fingerprint")
    if was not in (None, now):
        raise ModelError(
            f"base model {base.get('model')}: is not the one that this was trained on (fingerprint "
            f"{was} then, {now} now); bring that one back"
        )
    return folder
