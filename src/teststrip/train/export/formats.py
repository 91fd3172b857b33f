"""The formats by name, and how each is written: beside its place, checked, then renamed."""

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from teststrip.engine import lora_file
from teststrip.errors import ConfigError
from teststrip.files import storage_error, write_atomic
from teststrip.train.export import checks, written
from teststrip.train.export.merged import MARK as MERGED
from teststrip.train.export.merged import write_merged
from teststrip.train.export.onnx_unet import MARK as ONNX
from teststrip.train.export.onnx_unet import write_onnx
from teststrip.train.export.source import Source

FILES = ("diffusers", "kohya", "comfyui")
FOLDERS = {"merged": MERGED, "onnx": ONNX}
FORMATS = (*FILES, *FOLDERS)


@dataclass(frozen=True)
class Exported:
    """One thing that was written. `size`: bytes. `numbers`: what the checks measured."""

    format: str
    path: Path
    size: int
    numbers: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = ", ".join(
            f"{name.replace('_', ' ')} {value:.3g}" for name, value in self.numbers.items()
        )
        return f"{self.format:10} {self.path}  ({self.size / 1e6:.1f} MB; {shown})"

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return asdict(self) | {"path": str(self.path)}


def export(
    source: Source,
    formats: Sequence[str],
    out: Path,
    on_done: Callable[[Exported], None] = lambda _: None,
) -> list[Exported]:
    """Write a checkpoint in these formats into folder `out`.

    Each is read back by diffusers or onnxruntime before it gets its name: what does not give the
    checkpoint's numbers is not written. Raises ConfigError (unknown formats, something in the
    way), StudyError (numbers differ), MissingExtra (onnx), StorageError.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown or not formats:
        raise ConfigError(f"--format {', '.join(unknown)}: accepted: {', '.join(FORMATS)}")
    wanted = list(dict.fromkeys(formats))
    for name in wanted:
        _check_place(out, source, name)
    reference = checks.expected(source)
    done = []
    for name in wanted:
        made = (
            _file(source, name, out, reference)
            if name in FILES
            else _folder(source, name, out, reference)
        )
        on_done(made)
        done.append(made)
    return done


def _file(source: Source, name: str, out: Path, reference: checks.Answer) -> Exported:
    weights = lora_file.parse(source.data, str(source.weights))
    if name == "diffusers":
        data = written.diffusers_file(source, weights)
    else:
        unet, scheduler = (
            json.loads((source.base / part).read_text(encoding="utf-8"))
            for part in ("unet/config.json", "scheduler/scheduler_config.json")
        )
        data = written.kohya_file(source, weights, unet, scheduler)
    place = _place(out, source, name)
    part = place.with_name(f".{place.name}-part.safetensors")
    try:
        write_atomic(part, data)
        got = checks.read_by_diffusers(source, part)
        gap = checks.compare(f"format {name}", reference, got)
        part.replace(place)
    except OSError as exc:
        raise storage_error(place, exc) from exc
    finally:
        with contextlib.suppress(OSError):  # there is no folder that it could lie in
            part.unlink(missing_ok=True)
    return Exported(name, place, len(data), {"difference": gap})


def _folder(source: Source, name: str, out: Path, reference: checks.Answer) -> Exported:
    place = _place(out, source, name)
    part, old = (place.with_name(f".{place.name}-{end}") for end in ("part", "old"))
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        if name == "merged":
            write_merged(source, part)
            gap = checks.compare("format merged", reference, checks.read_merged(part))
            numbers = {"difference": gap}
        else:
            numbers = write_onnx(source, part)
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
            place.rename(old)
        part.rename(place)
    except OSError as exc:
        raise storage_error(place, exc) from exc
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())
    return Exported(name, place, size, numbers)


def _place(out: Path, source: Source, name: str) -> Path:
    return out / f"{source.stem}-{name}{'.safetensors' if name in FILES else ''}"


def _check_place(out: Path, source: Source, name: str) -> None:
    """Nothing of somebody else's is replaced."""
    place = _place(out, source, name)
    is_strange = (
        place.is_dir()
        if name in FILES
        else place.exists() and not (place / FOLDERS[name]).is_file()
    )
    if is_strange:
        raise ConfigError(f"{place}: is in the way and was not written by an export; --out DIR")
