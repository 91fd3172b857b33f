"""A scorer's model: shipped name, local folder or hub id -> a checked folder and its short name."""

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from teststrip.errors import MissingExtra, ModelError

SHIPPED = Path(__file__).parent.parent / "models"
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_TEXT_FILES = (
    "config.json",
    "preprocessor_config.json",
    "*token*.json",
    "vocab.json",
    "merges.txt",
)
_WEIGHT_FILES = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
TO_SAFETENSORS = (
    'convert it where you trust it: python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('IN', weights_only=True), 'OUT.safetensors')\""
)


@dataclass(frozen=True)
class ModelFolder:
    """Where a CLIP model lies and what to call it. `name` holds no commit or hash."""

    path: Path
    name: str
    is_shipped: bool = False
    revision: str | None = None

    @cached_property
    def label(self) -> str:
        """`name@revision`: the hub's commit or, for a folder, a hash of its weights (8 digits)."""
        return f"{self.name}@{self.revision or files_hash(weight_files(self.path))}"


def open_folder(model: str, revision: str | None = None, *, weights: bool = True) -> ModelFolder:
    """Find `model` and check that it is a CLIP model with safetensors weights.

    `weights=False` looks for tokenizer and preprocessing only. Raises ModelError that says what
    is missing and what to do.
    """
    found = _find(model, revision, weights=weights)
    if weights:
        _check(found.path)
    return found


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder, sorted."""
    return sorted(folder.glob("model*.safetensors"))


def files_hash(files: list[Path]) -> str:
    """Eight hex digits of the SHA-256 over the files' content."""
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while part := stream.read(1 << 22):
                digest.update(part)
    return digest.hexdigest()[:8]


def _find(model: str, revision: str | None, *, weights: bool) -> ModelFolder:
    if re.fullmatch(r"[\w-]+", model) and (SHIPPED / model / "config.json").is_file():
        return ModelFolder(SHIPPED / model, model, is_shipped=True)
    folder = Path(model).expanduser()
    if folder.is_dir():
        return ModelFolder(folder, re.sub(r"[^\w.-]", "_", folder.resolve().name))
    if HUB_ID.fullmatch(model):
        path = _download(model, revision, weights=weights)
        return ModelFolder(path, model, revision=revision or path.name[:8])
    shipped = ", ".join(
        sorted(file.parent.name for file in SHIPPED.glob("*/preprocessor_config.json"))
    )
    raise ModelError(
        f"scorer model {model!r}: no such folder; accepted: a folder saved by "
        f"CLIPModel.save_pretrained, a hub id such as owner/name, or a shipped one "
        f"({shipped or 'none installed'})"
    )


def _check(folder: Path) -> None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = config.get("model_type")
    except FileNotFoundError as exc:
        raise ModelError(f"scorer model {folder}: no config.json there, so no CLIP model") from exc
    except (OSError, ValueError, AttributeError) as exc:
        raise ModelError(f"scorer model {folder}: config.json cannot be read: {exc}") from exc
    if kind != "clip":
        raise ModelError(f"scorer model {folder}: model_type {kind!r}; accepted: 'clip'")
    if not weight_files(folder):
        pickles = [file.name for file in folder.glob("*.bin")]
        why = f"only pickle weights {pickles}, which can run code" if pickles else "no weights"
        raise ModelError(
            f"scorer model {folder}: {why}; model.safetensors is needed. Load it where you trust "
            "it with CLIPModel.from_pretrained and write it with save_pretrained"
        )


def _download(model: str, revision: str | None, *, weights: bool) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError as exc:
        raise MissingExtra(f"scorer model {model!r} from the hub", "engine") from exc
    patterns = [*_TEXT_FILES, *(_WEIGHT_FILES if weights else ())]
    try:
        return Path(snapshot_download(model, revision=revision, allow_patterns=patterns))
    except Exception as exc:
        # The hub client raises many kinds (network, auth, missing); all mean "not to be had".
        reason = str(exc).splitlines()[0] if str(exc) else ""
        raise ModelError(
            f"scorer model {model!r}: not in the local hub cache and cannot be downloaded "
            f"({type(exc).__name__}: {reason}); give a folder instead"
        ) from exc
