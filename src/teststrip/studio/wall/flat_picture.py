"""The images of a view without axes as one PNG: the first of them, in the view's order."""

import io
from typing import TYPE_CHECKING, Any

from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import drawing, payload
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.drawing import FAINT, MOST_SIDE, PAD, PAPER, SOFT, TOP
from teststrip.studio.wall.view import View

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from teststrip.studio.pictures import Pictures

MOST_TILES, WIDE = 500, 1600  # px
BETWEEN, CAPTION = 10, 36


def draw(view: View, entry: Entry, index: Index, pictures: "Pictures") -> bytes:
    """At most 500 images, fewer of large ones; how many of how many stands on it.

    A thumbnail that cannot be had is an empty frame, an image that failed says so.
    """
    from PIL import Image, ImageDraw

    across, step, most = fitting(view.size)
    total = payload.head(view, entry, index)["counts"]["total"]
    images = payload.images(view, entry, index, first=0, count=most)["images"]
    across = max(1, min(across, len(images)))
    wide = max(2 * PAD + across * (view.size + BETWEEN), 640)
    page = Image.new("RGB", (wide, TOP + PAD + -(-len(images) // across) * step), PAPER)
    pen = ImageDraw.Draw(page)
    _title(pen, view, entry, (len(images), total), width=wide)
    for number, image in enumerate(images):
        row, column = divmod(number, across)
        corner = PAD + column * (view.size + BETWEEN), TOP + row * step
        _tile(page, image, corner, view, _small(pictures, entry, image, view.size))
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def fitting(size: int) -> tuple[int, int, int]:
    """Images of `size` px in a row, px from row to row, and how many are drawn at most."""
    across, step = (WIDE - 2 * PAD + BETWEEN) // (size + BETWEEN), size + CAPTION + BETWEEN
    return across, step, min(MOST_TILES, across * ((MOST_SIDE - TOP - PAD) // step))


def _title(
    pen: "ImageDraw.ImageDraw", view: View, entry: Entry, drawn: tuple[int, int], *, width: int
) -> None:
    some, total = drawn
    words = f"all {total:,} images" if some == total else f"the first {some:,} of {total:,} images"
    sort = view.sort.removeprefix("-")
    order = "as they were made" if sort == "order" else f"sorted by {_shown(sort)}"
    if sort != "order":
        order += ", worst first" if view.sort.startswith("-") else ", best first"
    better = drawing.better_words(known.higher_is_better(view.score or "", entry))
    chips = "; ".join(str(chip["label"]) for chip in payload.chips(view, entry))
    lines = [f"{words}, {order}; {view.score}: {better}", chips]
    drawing.title(pen, f"{entry.name}: {view.score}", lines, width)


def _shown(sort: str) -> str:
    return {"lower": "lower bound", "disagreement": "disagreement of scorers"}.get(sort, sort)


def _small(
    pictures: "Pictures", entry: Entry, image: dict[str, Any], side: int
) -> "Image.Image | None":
    return None if image["failed"] else drawing.small(pictures, entry.name, image["key"], side)


def _tile(
    page: "Image.Image",
    image: dict[str, Any],
    corner: tuple[int, int],
    view: View,
    small: "Image.Image | None",
) -> None:
    from PIL import ImageDraw

    pen, (x, y) = ImageDraw.Draw(page), corner
    if image["failed"]:
        pen.rectangle((x, y, x + view.size - 1, y + view.size - 1), outline=FAINT)
        drawing.write(pen, (x + 5, y + 5), f"failed: {image['failed']}", 11, width=view.size - 10)
    else:
        drawing.hang(page, small, corner, view.size)
    score = "no score" if image["s"] is None else f"{image['s']:.4g}"
    more = f"seed {image['seed']}"
    if view.sort.removeprefix("-") not in ("order", view.score):
        by = view.sort.removeprefix("-")
        more = f"{by} {'none' if image['o'] is None else format(image['o'], '.4g')}"
    drawing.write(pen, (x, y + view.size + 3), score, 13, width=view.size)
    drawing.write(pen, (x, y + view.size + 19), more, 12, fill=SOFT, width=view.size)
