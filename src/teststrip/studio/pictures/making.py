"""An original made small: WebP, within bounds of bytes, pixels and memory."""

import io
from collections.abc import Sequence

from PIL import Image, ImageOps

from teststrip.studio.pictures.store import Broken

SIZES = (96, 192, 384, 768)
MOST_PIXELS = 50_000_000
FORMATS = ("PNG", "JPEG", "WEBP")
QUALITY, EFFORT = 82, 2


def thumbnails(data: bytes, sizes: Sequence[int]) -> dict[int, bytes]:
    """WebP of each size (px on the longer side; never larger than the original), decoded once.

    Raises Broken for what is no PNG, JPEG or WebP, is cut off, or has more than `MOST_PIXELS`.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            image = _opened(opened, max(sizes))
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, OverflowError) as exc:
        if isinstance(exc, Broken):
            raise
        raise Broken(f"the picture cannot be read: {exc}") from exc
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
        raise Broken(f"the picture is too large: {exc}") from exc
    out = {}
    for size in sorted(sizes, reverse=True):  # each from the one before: it is small already
        image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
        file = io.BytesIO()
        image.save(file, "WEBP", quality=QUALITY, method=EFFORT)
        out[size] = file.getvalue()
    return out


def _opened(opened: Image.Image, largest: int) -> Image.Image:
    width, height = opened.size  # of the header: nothing is unpacked yet
    if width * height > MOST_PIXELS:
        raise Broken(f"the picture has {width} x {height} pixels; at most {MOST_PIXELS} are shown")
    if opened.format == "JPEG":
        opened.draft("RGB", (2 * largest, 2 * largest))
    image = ImageOps.exif_transpose(opened)
    return image.convert("RGBA" if "A" in image.getbands() else "RGB")
