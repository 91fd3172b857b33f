"""What `auto` becomes: read from the configs of the model that a project names, nothing loaded."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.engine import loading
from teststrip.errors import ModelError

# Stable Diffusion 1.x and 2.x have 320 channels in their first block.
WIDE = 320
WIDE_RATE, NARROW_RATE = 1e-4, 2e-3


@dataclass(frozen=True)
class BaseModel:
    """A model on this machine. `size`: side in px that it was made for; `multiple`: of which sides
    must be multiples; `rate`: the learning rate that is usual for its width."""

    folder: Path
    size: int
    multiple: int
    rate: float

    @classmethod
    def find(cls, name: str, revision: str | None) -> "BaseModel":
        """A shipped model, a folder, or a hub id (downloaded). Raises ModelError."""
        folder = loading.find_folder(name, revision)
        loading.check_folder(folder)
        unet, vae = (_config(folder / part / "config.json") for part in ("unet", "vae"))
        try:
            sample, blocks = unet["sample_size"], unet["block_out_channels"]
            factor = 2 ** (len(vae["block_out_channels"]) - 1)
            side = min(sample) if isinstance(sample, list) else int(sample)
            rate = WIDE_RATE if blocks[0] >= WIDE else NARROW_RATE
            return cls(folder, side * factor, factor * 2 ** (len(blocks) - 1), rate)
        except (KeyError, TypeError, ValueError, IndexError) as exc:
            raise ModelError(
                f"model {name}: its configs do not tell its size ({exc!r}); set prepare.size, "
                "train.image_size and train.learning_rate"
            ) from exc


def _config(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise ModelError(f"{path}: cannot be read: {exc}") from exc
    return found
