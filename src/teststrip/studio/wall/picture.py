"""A wall as one PNG: labels, numbers and the matched images, drawn from thumbnails."""

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError
from teststrip.studio.index import Entry
from teststrip.studio.wall import drawing
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.build import Wall
from teststrip.studio.wall.drawing import FAINT, GAP, MOST_SIDE, PAD, PAPER, SOFT, TOP
from teststrip.studio.wall.heat import Heat, heat_of
from teststrip.studio.wall.payload import chips
from teststrip.studio.wall.view import AXES, View

if TYPE_CHECKING:
    from PIL import ImageDraw

    from teststrip.studio.pictures import Pictures

MOST_PIXELS, MOST_IMAGES, ACCENT = 60_000_000, 2_000, (173, 36, 24)
SIDE, TEXT = 190, 14


@dataclass(frozen=True)
class Sheet:
    """Sizes in px. `across`, `down`: images in a cell."""

    across: int
    down: int
    image: int
    columns: int
    rows: int

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height of a cell, its margin included."""
        wide = max(self.across * (self.image + GAP), 168)
        return wide + 10, self.down * (self.image + GAP) + 50

    @property
    def size(self) -> tuple[int, int]:
        """Of the whole picture."""
        width, height = self.cell
        wide = max(2 * PAD + SIDE + self.columns * width, 640)
        return wide, TOP + PAD + 34 + self.rows * height


def sheet_of(wall: Wall, view: View) -> Sheet:
    """How large it gets. Raises ConfigError where that is too large."""
    images = view.show == "images"
    across = (1 if view.per == 1 else 2 if view.per in (2, 4) else 3) if images else 0
    down = -(-view.per // across) if across else 0
    sheet = Sheet(across, down, view.size if images else 0, len(wall.columns), len(wall.rows))
    width, height = sheet.size
    count = sum(len(c["images_shown"]) for c in wall.cells.values()) if images else 0
    if width * height > MOST_PIXELS or max(width, height) > MOST_SIDE or count > MOST_IMAGES:
        raise ConfigError(
            f"this picture would be {width:,} x {height:,} px with {count:,} images; at most "
            f"{MOST_PIXELS // 1_000_000} million px, {MOST_SIDE:,} px a side and {MOST_IMAGES:,} "
            "images are drawn: filter, hide values, or show smaller or fewer images in a cell"
        )
    return sheet


def draw(wall: Wall, view: View, entry: Entry, pictures: "Pictures") -> bytes:
    """The PNG. A thumbnail that cannot be had is an empty frame."""
    from PIL import Image, ImageDraw

    sheet = sheet_of(wall, view)
    page = Image.new("RGB", sheet.size, PAPER)
    pen = ImageDraw.Draw(page)
    means = [c["mean"] for c in wall.cells.values() if c["mean"] is not None]
    heat = heat_of(means)
    digits = _digits(max(means, default=0.0) - min(means, default=0.0))
    _title(pen, view, entry, heat, width=sheet.size[0])
    width, height = sheet.cell
    for i, pair in enumerate(wall.columns):
        _label(pen, pair, (PAD + SIDE + i * width, TOP - 4), width - 10)
    for i, pair in enumerate(wall.rows):
        _label(pen, pair, (PAD, TOP + 34 + i * height + 8), SIDE - 14)
    better = known.higher_is_better(view.score or "", entry)
    for (row, column), cell in wall.cells.items():
        corner = PAD + SIDE + column * width, TOP + 34 + row * height
        tint = _tint(heat.share(cell["mean"], better) if heat else 0.0)
        pen.rounded_rectangle(
            (*corner, corner[0] + width - 6, corner[1] + height - 6), 5, fill=tint, outline=FAINT
        )
        _numbers(pen, cell, corner, width=width - 16, digits=digits)
        if sheet.across:
            start = corner[0] + 4, corner[1] + 40
            for slot, key, *_ in cell["images_shown"]:
                down, right = divmod(slot - 1, sheet.across)
                step = sheet.image + GAP
                at = start[0] + right * step, start[1] + down * step
                small = drawing.small(pictures, entry.name, key, sheet.image)
                drawing.hang(page, small, at, sheet.image)
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def _title(
    pen: "ImageDraw.ImageDraw", view: View, entry: Entry, heat: Heat | None, *, width: int
) -> None:
    fields = known.fields(entry)
    axes = [f"{a}: {fields[n].label}" for a, n in zip(AXES, view.axes, strict=True) if n]
    words = drawing.better_words(known.higher_is_better(view.score or "", entry))
    line = f"{', '.join(axes)}; {words}; mean of prompt means, 95 % interval (t)"
    filters = "; ".join(str(chip["label"]) for chip in chips(view, entry))
    both = "; ".join(text for text in (tint_words(heat), filters) if text)
    drawing.title(pen, f"{entry.name}: {view.score}", [line, both], width)


def tint_words(heat: Heat | None) -> str:
    """What the legend of the page says."""
    if heat is None or heat.low == heat.high:
        return ""
    digits = _digits(heat.high - heat.low)
    low = f"{heat.low:.{digits}f}{' or less' if heat.below else ''}"
    return f"tint from {low} to {heat.high:.{digits}f}{' or more' if heat.above else ''}"


def _label(pen: "ImageDraw.ImageDraw", pair: Any, at: tuple[int, int], width: int) -> None:
    outer, inner = pair
    if outer is not None:
        drawing.write(pen, at, outer.label, 12, fill=SOFT, width=width)
    if inner is not None:
        drawing.write(pen, (at[0], at[1] + 15), inner.label, TEXT, width=width)


def _digits(span: float) -> int:
    """As many decimals as tell the cells apart; as the page has it."""
    return min(6, max(0, 2 - math.floor(math.log10(span)))) if span > 0 else 3


def _numbers(
    pen: "ImageDraw.ImageDraw",
    cell: dict[str, Any],
    at: tuple[int, int],
    *,
    width: int,
    digits: int,
) -> None:
    x, y = at[0] + 6, at[1] + 4
    mean = "no score" if cell["mean"] is None else f"{cell['mean']:.{digits}f}"
    if cell["low"] is not None:
        mean += f" ({cell['low']:.{digits}f} to {cell['high']:.{digits}f})"
    failed = f", {cell['failed']} failed" if cell["failed"] else ""
    drawing.write(pen, (x, y), mean, 13, width=width)
    count = f"{cell['prompts']} prompts, {cell['images']} images{failed}"
    drawing.write(pen, (x, y + 17), count, 11, fill=SOFT, width=width)


def _tint(share: float) -> tuple[int, int, int]:
    """Paper for the worst cell, 38 % accent for the best; as the page has it."""
    mixed = [round(255 + (a - 255) * 0.38 * share) for a in ACCENT]
    return mixed[0], mixed[1], mixed[2]
