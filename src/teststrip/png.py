"""PNG with its settings inside: A1111's `parameters` text and our `teststrip` JSON, both ways.

The same picture, request and facts give the same bytes, always: no time stamps, no durations
(model calls are exact and stay; seconds are kept in the study's table, never in the picture).
"""

import io
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from teststrip import a1111
from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.recipe import Request, canonical_json

KEYWORD = "teststrip"
FORMAT = 1
# Measured on 512 x 512 px: level 1 takes 15 ms for 347 kB, 4 takes 25 ms for 297 kB, PIL's
# default (6) 53 ms for 293 kB. The step loop waits for it, the disk does not.
COMPRESS_LEVEL = 1
MAX_PIXELS = 2**26
MAX_TEXT_BYTES = 1_000_000
_TIMING = frozenset({"seconds", "latency_ms", "started", "finished"})


@dataclass(frozen=True)
class PngFacts:
    """What a picture of ours says of itself. `facts`: model fingerprint, versions, device, ..."""

    request: Request
    image_key: str
    width: int
    height: int
    facts: Mapping[str, Any] = field(repr=False)


def write(
    image: Image.Image | NDArray[np.uint8], request: Request, facts: Mapping[str, Any]
) -> bytes:
    """Encode a picture with its settings.

    `image`: PIL image or uint8 array [H, W, 3], 0 to 255, sRGB. `facts` must be JSON; `image_key`
    and `fingerprint` in it are used where present, durations are left out (see above).
    Raises ConfigError if the facts are no JSON or too long to be read back.
    """
    picture = image if isinstance(image, Image.Image) else Image.fromarray(_rgb_array(image))
    kept = {name: value for name, value in facts.items() if name not in _TIMING}
    image_key = kept.pop("image_key", "")
    try:
        own = canonical_json(
            {
                "format": FORMAT,
                "recipe": request.recipe.model_dump(mode="json"),
                "prompt": request.block.prompt,
                "seed": request.block.seed,
                "image_key": image_key,
                "facts": kept,
            }
        )
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"facts of a picture must be JSON: {exc}") from exc
    if len(own.encode()) > MAX_TEXT_BYTES:
        raise ConfigError(f"facts of a picture: more than {MAX_TEXT_BYTES} bytes of JSON")
    fingerprint = str(kept.get("fingerprint", ""))[:10] or None
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", a1111.to_text(request, picture.width, picture.height, fingerprint))
    text.add_itxt(KEYWORD, own)
    out = io.BytesIO()
    picture.convert("RGB").save(out, "PNG", pnginfo=text, compress_level=COMPRESS_LEVEL)
    return out.getvalue()


def read(data: bytes) -> PngFacts:
    """The settings inside a picture of ours; its pixels are not decoded.

    Raises ConfigError: no PNG, too many pixels, too much text, no `teststrip` text, broken JSON.
    """
    picture = _open(data)
    text = picture.info.get(KEYWORD)
    if text is None:
        hint = " (it has A1111's: see a1111.from_text)" if "parameters" in picture.info else ""
        raise ConfigError(f"picture: it holds no `{KEYWORD}` settings{hint}")
    if len(text) > MAX_TEXT_BYTES:
        raise ConfigError(f"picture: its `{KEYWORD}` text is longer than {MAX_TEXT_BYTES}")
    try:
        own = json.loads(text)
        format_, facts, image_key = own["format"], own["facts"], own["image_key"]
        request = {
            "recipe": own["recipe"],
            "block": {"prompt": own["prompt"], "seed": own["seed"]},
        }
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise ConfigError(f"picture: its `{KEYWORD}` text is broken: {exc!r}") from exc
    if format_ != FORMAT or not isinstance(facts, dict) or not isinstance(image_key, str):
        raise ConfigError(
            f"picture: its `{KEYWORD}` text has format {format_!r}; this version reads {FORMAT}"
        )
    return PngFacts(
        request=parse(Request, request, f"picture: its `{KEYWORD}` text"),
        image_key=image_key,
        width=picture.width,
        height=picture.height,
        facts=facts,
    )


def infotext(data: bytes) -> str | None:
    """The A1111 settings text inside a PNG (ours hold one too), or None. Raises ConfigError."""
    text = _open(data).info.get("parameters")
    return text if isinstance(text, str) else None


def pixels(data: bytes) -> NDArray[np.uint8]:
    """The picture as uint8 [H, W, 3], 0 to 255, sRGB. Raises ConfigError if it cannot be read."""
    picture = _open(data)
    try:
        return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError, struct.error) as exc:
        raise ConfigError(f"picture: broken PNG: {exc}") from exc


def _open(data: bytes) -> Image.Image:
    """Open without decoding. Size is bounded before PIL sees it, text by PIL's MAX_TEXT_CHUNK."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 33:
        raise ConfigError("picture: not a PNG file")
    width, height = struct.unpack(">II", data[16:24])
    if width * height > MAX_PIXELS:
        raise ConfigError(f"picture: {width} x {height} px; at most {MAX_PIXELS} pixels are read")
    try:
        return Image.open(io.BytesIO(data), formats=["PNG"])
    except (OSError, ValueError, SyntaxError, struct.error) as exc:
        raise ConfigError(f"picture: broken PNG or too much text in it: {exc}") from exc


def _rgb_array(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ConfigError(f"picture: uint8 [H, W, 3] is accepted, got {image.dtype} {image.shape}")
    return np.ascontiguousarray(image)
