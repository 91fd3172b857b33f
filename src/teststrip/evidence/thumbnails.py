"""Pictures as data URIs, small enough for a page that holds everything."""

import base64
import io

from PIL import Image

MAX_SIDE = 192
SMALL_SIDE = 128
LOSSLESS = 96  # px: below that WebP's blocks would show, and the file is small anyway


def data_uri(png: bytes, max_side: int = MAX_SIDE) -> str:
    """A WebP of at most `max_side` px. Small pictures are kept as they are, without loss.

    Raises ConfigError if the picture cannot be read.
    """
    from teststrip.png import pixels

    picture = Image.fromarray(pixels(png))
    small = max(picture.size) <= LOSSLESS
    picture.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    picture.save(out, "WEBP", lossless=small, quality=82, method=4)
    return "data:image/webp;base64," + base64.b64encode(out.getvalue()).decode()
