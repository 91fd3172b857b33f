"""Pictures as people took them -> squares to train on, under names that any system takes."""

import io
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from PIL import Image

MOST_LETTERS = 80
_ODD = re.compile(r"[^A-Za-z0-9._-]+")


def square(picture: Image.Image, size: int) -> Image.Image:
    """The centre of an upright RGB picture as a square of `size` px, Lanczos; small ones grow."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    middle = picture.crop((left, top, left + side, top + side))
    return middle.resize((size, size), Image.Resampling.LANCZOS)


def png_bytes(picture: Image.Image) -> bytes:
    """PNG without any metadata: the same pixels are the same bytes."""
    bare = Image.frombytes("RGB", picture.size, picture.convert("RGB").tobytes())
    out = io.BytesIO()
    bare.save(out, "PNG", compress_level=6)
    return out.getvalue()


def safe_names(names: Iterable[str]) -> Mapping[str, str]:
    """Path in the folder of pictures -> a name for the square, each once.

    Letters, digits, `.`, `_` and `-` are kept; two that differ only in what is lost, in their
    ending or in upper case get a number.
    """
    given: set[str] = set()
    out: dict[str, str] = {}
    for name in names:
        stem = PurePosixPath(name).with_suffix("").as_posix()
        plain = _ODD.sub("-", stem.replace("/", "-")).strip("-._")[:MOST_LETTERS] or "picture"
        number, tried = 1, plain
        while tried.lower() in given:
            number += 1
            tried = f"{plain}-{number}"
        given.add(tried.lower())
        out[name] = f"{tried}.png"
    return out
