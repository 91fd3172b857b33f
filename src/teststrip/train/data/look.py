"""Look at every picture once, before anything is trained, and say by name what is wrong."""

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from PIL import Image

from teststrip.train.data.found import Found, Listing
from teststrip.train.data.picture import (
    LEAST_SIDE,
    MOST_PIXELS,
    Picture,
    quiet_reading,
    size_of,
    upright,
)

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Looked:
    """What came of looking at one picture: its faults, or the picture and a hash of its pixels."""

    faults: list[str]
    picture: Picture | None = None
    pixels: str = ""


def look_at_all(
    listing: Listing, fallback: str, on_progress: OnProgress | None = None
) -> tuple[list[Picture], dict[str, str]]:
    """Decode every picture (threads: PIL decodes without holding the interpreter).

    `on_progress(done, total)` after each. Returns the good ones, and for each SHA-256 the lowest
    of those with the same pixels.
    """
    pictures: list[Picture] = []
    by_pixels: dict[str, list[str]] = {}
    with quiet_reading(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        looks = threads.map(partial(_look_at, fallback), listing.found)
        for number, (found, looked) in enumerate(zip(listing.found, looks, strict=True), start=1):
            if on_progress is not None:
                on_progress(number, len(listing.found))
            listing.faults += [f"{found.name}: {fault}" for fault in looked.faults]
            if looked.picture is None:
                continue
            picture, pixels = looked.picture, looked.pixels
            pictures.append(picture)
            by_pixels.setdefault(pixels, []).append(picture.sha256)
    return pictures, {sha256: min(group) for group in by_pixels.values() for sha256 in group}


def _look_at(fallback: str, found: Found) -> Looked:
    caption = found.caption or fallback
    faults = []
    if not caption:
        faults.append(
            "has no caption; add it to metadata.jsonl or a .txt beside it, or set data.caption"
        )
    try:
        data = found.read()
        image = _decode(data)
    except OSError as exc:
        return Looked([f"cannot be used: {exc}", *faults])
    if faults:
        return Looked(faults)
    sha256 = hashlib.sha256(data).hexdigest()
    pixels = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
    picture = Picture(found.name, caption, sha256, *image.size, read=found.read)
    return Looked([], picture, pixels)


def _decode(data: bytes) -> Image.Image:
    """The picture, if it is whole and neither huge nor too small. Raises OSError."""
    width, height = size_of(data)
    if width * height > MOST_PIXELS:
        most = MOST_PIXELS // 10**6
        raise OSError(f"{width} x {height} px is huge; at most {most} megapixels are accepted")
    if min(width, height) < LEAST_SIDE:
        raise OSError(
            f"{width} x {height} px is too small; at least {LEAST_SIDE} px a side are accepted"
        )
    return upright(data)
