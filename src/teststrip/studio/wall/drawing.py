"""What both pictures of a wall are drawn with: text that fits, thumbnails in their squares."""

import io
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError, StudyError
from teststrip.evidence import lettering

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from teststrip.studio.pictures import Pictures

MOST_SIDE = 16_000  # px
PAPER, INK, SOFT, FAINT = "#fcfbf9", "#1b1a18", "#66635d", "#e6e3dc"
TOP, PAD, GAP = 118, 24, 3


def better_words(better_high: bool) -> str:
    """Which end of the score is good."""
    return "higher is better" if better_high else "lower is better"


def title(pen: "ImageDraw.ImageDraw", name: str, lines: list[str], width: int) -> None:
    """A name and up to two lines under it."""
    write(pen, (PAD, 20), name, 24, width=width - 2 * PAD)
    for i, line in enumerate(lines):
        write(pen, (PAD, 54 + 20 * i), line, 13, fill=SOFT, width=width - 2 * PAD)


def write(
    pen: "ImageDraw.ImageDraw", at: tuple[int, int], text: str, size: int, **how: Any
) -> None:
    """Cut to `width` px."""
    width = how.pop("width", 10_000)
    cut = lettering.fit(text, size, width)
    pen.text(at, cut, font=lettering.font(cut, size), fill=how.get("fill", INK))


def small(pictures: "Pictures", study: str, key: str, side: int) -> "Image.Image | None":
    """A thumbnail of at most `side` px; None where it cannot be had."""
    from PIL import Image

    try:
        found = Image.open(io.BytesIO(pictures.thumb(study, key, side))).convert("RGB")
    except (StorageError, StudyError, OSError):
        return None
    scale = side / max(found.size)
    size = max(1, round(found.width * scale)), max(1, round(found.height * scale))
    return found if size == found.size else found.resize(size, Image.Resampling.LANCZOS)


def hang(page: "Image.Image", image: "Image.Image | None", at: tuple[int, int], side: int) -> None:
    """In the middle of its square; an empty frame where there is none."""
    from PIL import ImageDraw

    x, y = at
    if image is None:
        ImageDraw.Draw(page).rectangle((x, y, x + side - 1, y + side - 1), outline=SOFT)
        return
    page.paste(image, (x + (side - image.width) // 2, y + (side - image.height) // 2))
