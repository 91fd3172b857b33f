"""Reference pictures: what likeness and nearness are measured against."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from teststrip.errors import ConfigError
from teststrip.score.clip_model import ClipTowers

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
Split = Literal["train", "held_out"]


@dataclass(frozen=True)
class Reference:
    """A picture in a file. `sha256`: of the file's bytes."""

    path: Path
    sha256: str

    def pixels(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], upright. Raises ConfigError where it cannot be read."""
        try:
            with Image.open(self.path) as image:
                return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as exc:
            raise ConfigError(f"reference picture {self.path}: cannot be read: {exc}") from exc


def references(folder: Path, manifest: Path | None, split: Split | None) -> list[Reference]:
    """The pictures below `folder`, each content once; of a run's `split` where its manifest is
    given. Raises ConfigError where there is none."""
    if not folder.is_dir():
        raise ConfigError(f"reference pictures: {folder} is no folder")
    wanted = None if manifest is None else _listed(manifest, split)
    found: dict[str, Reference] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDINGS and path.is_file():
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if wanted is None or sha256 in wanted:
                found.setdefault(sha256, Reference(path, sha256))
    if not found:
        of = f" that {manifest} lists" if manifest else ""
        raise ConfigError(f"reference pictures: {folder} holds none{of}; accepted: {ENDINGS}")
    return list(found.values())


def embed(towers: ClipTowers, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
    """float32 [N, D], each of length 1, a batch at a time."""
    size = towers.batch_size
    parts = [towers.embed_pictures(pictures[k : k + size]) for k in range(0, len(pictures), size)]
    return torch.cat(parts)


def set_label(model: str, pictures: Sequence[str]) -> str:
    """Eight hex digits that name a set of pictures (by content hash) under a model's eyes."""
    text = "\n".join([model, *sorted(set(pictures))])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _listed(manifest: Path, split: Split | None) -> set[str]:
    try:
        pictures = json.loads(manifest.read_text(encoding="utf-8"))["pictures"]
        return {p["sha256"] for p in pictures if split is None or p["split"] == split}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ConfigError(f"{manifest}: no manifest of a training run: {exc}") from exc
