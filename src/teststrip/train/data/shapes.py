"""Sizes of training pictures: aspect buckets, crops, flips, and the pixels that a model sees."""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps

from teststrip.train.data.picture import Picture

Size = tuple[int, int]
LONGEST_TO_SHORTEST = 2.0


@dataclass(frozen=True)
class View:
    """How a picture becomes a training example: scaled, cut out, perhaps mirrored.

    `scaled`: size after resizing; `corner`: left and top of the cut; `size`: what is cut. All px.
    """

    scaled: Size
    corner: Size
    size: Size
    flip: bool = False


def buckets(size: Size, multiple: int) -> list[Size]:
    """Sizes of at most `size`'s area whose sides are multiples of `multiple`, from 1:2 to 2:1.

    For each width the largest height that keeps the area (as in NovelAI's aspect buckets, 2022);
    `size` itself is always one of them.
    """
    area = size[0] * size[1]
    found = {size}
    widest = math.isqrt(int(area * LONGEST_TO_SHORTEST))
    for width in range(multiple, widest + 1, multiple):
        height = area // width // multiple * multiple
        if height and 1 / LONGEST_TO_SHORTEST <= width / height <= LONGEST_TO_SHORTEST:
            found.add((width, height))
    return sorted(found)


def nearest_bucket(picture: Picture, sizes: list[Size]) -> Size:
    """The bucket whose shape is nearest to the picture's; of equals the one of most pixels."""
    shape = math.log(picture.width / picture.height)
    return min(
        sizes, key=lambda size: (abs(math.log(size[0] / size[1]) - shape), -size[0] * size[1])
    )


def view(picture: Picture, size: Size, crop: int = 0, *, flip: bool = False) -> View:
    """Crop number `crop` of a picture: 0 is the centre, others are places drawn from its hash.

    The picture is scaled until it just covers `size`; its shape is never squeezed. The same
    number is the same place on every machine, so that its latents can be kept.
    """
    scale = max(size[0] / picture.width, size[1] / picture.height)
    scaled = (
        max(size[0], round(picture.width * scale)),
        max(size[1], round(picture.height * scale)),
    )
    spare = (scaled[0] - size[0], scaled[1] - size[1])
    corner = (spare[0] // 2, spare[1] // 2)
    if crop:
        drawn = hashlib.sha256(f"{picture.sha256} {crop}".encode()).digest()
        across = int.from_bytes(drawn[:8], "big") % (spare[0] + 1)
        down = int.from_bytes(drawn[8:16], "big") % (spare[1] + 1)
        corner = (across, down)
    return View(scaled, corner, size, flip)


def scale(image: Image.Image, seen: View) -> Image.Image:
    """An upright RGB picture in the size that the view is cut from."""
    return image.resize(seen.scaled, Image.Resampling.LANCZOS)


def cut(scaled: Image.Image, seen: View) -> torch.Tensor:
    """The view of a scaled picture: float32 [3, H, W], -1 to 1."""
    left, top = seen.corner
    part = scaled.crop((left, top, left + seen.size[0], top + seen.size[1]))
    if seen.flip:
        part = ImageOps.mirror(part)
    values = torch.from_numpy(np.array(part, dtype=np.float32))
    return (values / 127.5 - 1).permute(2, 0, 1).contiguous()
