"""Which file a recipe's LoRA is, and what it holds: pictures are named by its content."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from teststrip.engine.loading import HUB_ID, PICKLES
from teststrip.errors import ModelError
from teststrip.recipe import Lora, short_hash

WEIGHTS = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True)
class Adapter:
    """A LoRA file by its content. `digest`: SHA-256; two paths to the same bytes are equal."""

    digest: str
    scale: float
    path: Path = field(compare=False)

    def read(self) -> bytes:
        """The file's bytes. Raises ModelError if they are not those that were looked at before."""
        data = _read(self.path)
        if hashlib.sha256(data).hexdigest() != self.digest:
            raise ModelError(f"LoRA {self.path}: was changed while images waited for it; ask again")
        return data


class AdapterFiles:
    """Finds the files of LoRAs and hashes each once, until it changes."""

    def __init__(self) -> None:
        self._digests: dict[tuple[str, int, int, int], str] = {}

    def find(self, loras: Sequence[Lora]) -> tuple[Adapter, ...]:
        """The files of a recipe's LoRAs as they are now. Raises ModelError for one that is none."""
        return tuple(self._find(lora) for lora in loras)

    def _find(self, lora: Lora) -> Adapter:
        path = find_file(lora.path)
        try:
            stat = path.stat()
        except OSError as exc:
            raise ModelError(f"LoRA {path}: cannot be read: {exc.strerror or exc}") from exc
        key = (str(path), stat.st_ino, stat.st_size, stat.st_mtime_ns)
        if key not in self._digests:
            self._digests[key] = hashlib.sha256(_read(path)).hexdigest()
        return Adapter(self._digests[key], lora.scale, path)


def fingerprint(model: str, adapters: Sequence[Adapter]) -> str:
    """Name of the weights that make a picture: the model's own, with the adapters' content."""
    return f"{model}+{short_hash([a.digest for a in adapters])}" if adapters else model


def find_file(path: str) -> Path:
    """The safetensors file of a LoRA: a file, a folder with one, or a hub id.

    Raises ModelError with what was looked for.
    """
    file = Path(path).expanduser()
    if file.suffix in PICKLES:
        raise ModelError(f"LoRA {path}: pickle files are refused; convert to safetensors")
    if file.is_file():
        return file
    if file.is_dir():
        return _in_folder(file, path)
    if path.startswith("models:/"):
        raise ModelError(
            f"LoRA {path}: an address in the MLflow registry; `image generate --lora` takes it, "
            "a recipe names a file: teststrip train export --help"
        )
    if HUB_ID.match(path):
        return _in_folder(_download(path), path)
    raise ModelError(
        f"LoRA {path}: no such file; accepted: a safetensors file, a folder or a hub id"
    )


def _in_folder(folder: Path, path: str) -> Path:
    if (folder / WEIGHTS).is_file():
        return folder / WEIGHTS
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found[0]
    names = ", ".join(file.name for file in found[:4])
    raise ModelError(
        f"LoRA {path}: {len(found)} safetensors files in that folder"
        + (f" ({names}); name one of them" if found else "")
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise ModelError(f"LoRA {path}: cannot be read: {exc.strerror or exc}") from exc


def _download(path: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(path, allow_patterns="*.safetensors"))
    except Exception as exc:
        # The hub client raises many kinds (network, auth, missing); all mean "not to be had".
        raise ModelError(
            f"LoRA {path}: no such file, not in the local hub cache and cannot be downloaded "
            f"({type(exc).__name__})"
        ) from exc
