"""CLIP's picture preprocessing in PIL and numpy, as a `preprocessor_config.json` asks for it.

transformers' own needs torchvision or a PIL fallback that broke twice (huggingface/transformers
#45042, #48607), so it is written out here and a golden test holds it to theirs.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from teststrip.errors import ModelError

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
MAX_SIDE = 4096
_SWITCHES = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")


@dataclass(frozen=True)
class Preprocess:
    """uint8 [H, W, 3] -> float32 [3, h, w], the vision tower's input.

    `shortest` scales the shorter edge to that many px and keeps the aspect ratio; `size` scales
    to exactly (height, width); `crop` then takes the middle (height, width).
    """

    shortest: int | None = 224
    size: tuple[int, int] | None = None
    crop: tuple[int, int] | None = (224, 224)
    resample: Image.Resampling = Image.Resampling.BICUBIC
    scale: float = 1 / 255
    mean: tuple[float, ...] = MEAN
    std: tuple[float, ...] = STD

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a preprocessor_config.json. Raises ModelError with every fault in it."""
        try:
            config = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise ModelError(f"{path}: cannot be read: {exc}") from exc
        try:
            return cls.from_config(config)
        except (TypeError, ValueError, KeyError, AttributeError) as exc:
            raise ModelError(f"{path}: no CLIP preprocessing: {exc}") from exc

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """From the JSON's content; keys left out are CLIP's. Raises ValueError and its kin."""
        is_on = {name: bool(config.get(name, True)) for name in _SWITCHES}
        shortest, size = _resize(config.get("size", 224)) if is_on["do_resize"] else (None, None)
        crop = _pair(config.get("crop_size", 224)) if is_on["do_center_crop"] else None
        edges = (shortest, shortest) if shortest else size
        if crop and edges and (crop[0] > edges[0] or crop[1] > edges[1]):
            raise ValueError(f"crop_size {crop} is larger than size {edges}")
        mean = tuple(float(x) for x in config.get("image_mean", MEAN))
        std = tuple(float(x) for x in config.get("image_std", STD))
        if len(mean) != 3 or len(std) != 3 or not all(std):
            raise ValueError(f"image_mean and image_std must be three numbers, got {mean} {std}")
        return cls(
            shortest=shortest,
            size=size,
            crop=crop,
            resample=Image.Resampling(config.get("resample", 3)),
            scale=float(config.get("rescale_factor", 1 / 255)) if is_on["do_rescale"] else 1.0,
            mean=mean if is_on["do_normalize"] else (0.0, 0.0, 0.0),
            std=std if is_on["do_normalize"] else (1.0, 1.0, 1.0),
        )

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """One picture."""
        image = Image.fromarray(picture)
        height, width = self._resized(image.height, image.width)
        scaled = np.asarray(image.resize((width, height), self.resample), np.float32)
        if self.crop:
            scaled = _middle(scaled, self.crop)
        mean, std = np.array(self.mean, np.float32), np.array(self.std, np.float32)
        values = (scaled * np.float32(self.scale) - mean) / std
        return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        if self.size:
            return self.size
        if self.shortest is None:
            return height, width
        if width <= height:
            return int(self.shortest * height / width), self.shortest
        return self.shortest, int(self.shortest * width / height)


def _middle(picture: NDArray[np.float32], crop: tuple[int, int]) -> NDArray[np.float32]:
    """Centre crop; zeros around a picture that is smaller (resizing switched off)."""
    height, width = crop
    grown = max(0, height - picture.shape[0]), max(0, width - picture.shape[1])
    if any(grown):
        edges = [((extra + 1) // 2, extra // 2) for extra in grown]
        picture = np.pad(picture, [*edges, (0, 0)])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    return picture[top : top + height, left : left + width]


def _resize(size: Any) -> tuple[int | None, tuple[int, int] | None]:
    """(shortest edge, exact size), one of them None."""
    if isinstance(size, int):
        return _side(size), None
    if "shortest_edge" in size:
        if size.get("longest_edge"):
            raise ValueError("size.longest_edge is not supported; accepted: shortest_edge alone")
        return _side(size["shortest_edge"]), None
    return None, _pair(size)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, int):
        return _side(size), _side(size)
    return _side(size["height"]), _side(size["width"])


def _side(value: Any) -> int:
    if not isinstance(value, int) or not 1 <= value <= MAX_SIDE:
        raise ValueError(f"a side must be 1 to {MAX_SIDE} px, got {value!r}")
    return value
