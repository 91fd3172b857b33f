"""A wall as one PNG: labels, numbers and the matched images, drawn from thumbnails."""

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StorageError, StudyError
from teststrip.evidence import lettering
from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.build import Wall
from teststrip.studio.wall.view import AXES, View

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from teststrip.studio.pictures import Pictures

MOST_PIXELS, MOST_SIDE, MOST_IMAGES = 60_000_000, 16_000, 2_000
PAPER, INK, SOFT, FAINT, ACCENT = "#fcfbf9", "#1b1a18", "#66635d", "#e6e3dc", (173, 36, 24)
SIDE, TOP, PAD, GAP, TEXT = 190, 118, 24, 3, 14


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


def draw(wall: Wall, view: View, entry: Entry, index: Index, pictures: "Pictures") -> bytes:
    """The PNG. A thumbnail that cannot be had is an empty frame."""
    from PIL import Image, ImageDraw

    sheet = sheet_of(wall, view)
    page = Image.new("RGB", sheet.size, PAPER)
    pen = ImageDraw.Draw(page)
    _title(pen, view, entry, index, sheet.size[0])
    width, height = sheet.cell
    for i, pair in enumerate(wall.columns):
        _label(pen, pair, (PAD + SIDE + i * width, TOP - 4), width - 10)
    for i, pair in enumerate(wall.rows):
        _label(pen, pair, (PAD, TOP + 34 + i * height + 8), SIDE - 14)
    means = [c["mean"] for c in wall.cells.values() if c["mean"] is not None]
    better = known.higher_is_better(view.score or "", entry)
    for (row, column), cell in wall.cells.items():
        corner = PAD + SIDE + column * width, TOP + 34 + row * height
        tint = _tint(cell["mean"], means, better)
        pen.rounded_rectangle(
            (*corner, corner[0] + width - 6, corner[1] + height - 6), 5, fill=tint, outline=FAINT
        )
        _numbers(pen, cell, corner, width=width - 16, digits=_digits(means))
        if sheet.across:
            start = corner[0] + 4, corner[1] + 40
            for slot, key, *_ in cell["images_shown"]:
                down, right = divmod(slot - 1, sheet.across)
                step = sheet.image + GAP
                at = start[0] + right * step, start[1] + down * step
                small = _small(pictures, entry.name, key, sheet.image)
                _hang(page, small, at, sheet.image)
    out = io.BytesIO()
    page.save(out, "PNG")
    return out.getvalue()


def _write(
    pen: "ImageDraw.ImageDraw", at: tuple[int, int], text: str, size: int, **how: Any
) -> None:
    width = how.pop("width", 10_000)
    cut = lettering.fit(text, size, width)
    pen.text(at, cut, font=lettering.font(cut, size), fill=how.get("fill", INK))


def _title(pen: "ImageDraw.ImageDraw", view: View, entry: Entry, index: Index, width: int) -> None:
    from teststrip.studio.wall.payload import chips

    fields = known.fields(entry)
    axes = [f"{a}: {fields[n].label}" for a, n in zip(AXES, view.axes, strict=True) if n]
    _write(pen, (PAD, 20), f"{entry.name}: {view.score}", 24, width=width - 2 * PAD)
    words = (
        "higher is better" if known.higher_is_better(view.score or "", entry) else "lower is better"
    )
    line = f"{', '.join(axes)}; {words}; mean of prompt means, 95 % interval (t)"
    _write(pen, (PAD, 54), line, 13, fill=SOFT, width=width - 2 * PAD)
    filters = "; ".join(str(chip["label"]) for chip in chips(view, entry))
    _write(pen, (PAD, 74), filters, 13, fill=SOFT, width=width - 2 * PAD)


def _label(pen: "ImageDraw.ImageDraw", pair: Any, at: tuple[int, int], width: int) -> None:
    outer, inner = pair
    if outer is not None:
        _write(pen, at, outer.label, 12, fill=SOFT, width=width)
    if inner is not None:
        _write(pen, (at[0], at[1] + 15), inner.label, TEXT, width=width)


def _digits(means: list[float]) -> int:
    """As many decimals as tell the cells apart; as the page has it."""
    span = max(means, default=0.0) - min(means, default=0.0)
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
    _write(pen, (x, y), mean, 13, width=width)
    count = f"{cell['prompts']} prompts, {cell['images']} images{failed}"
    _write(pen, (x, y + 17), count, 11, fill=SOFT, width=width)


def _tint(mean: float | None, means: list[float], better: bool) -> tuple[int, int, int]:
    """Paper for the worst cell, 38 % accent for the best; as the page has it."""
    share = 0.0
    if mean is not None and len(means) > 1 and max(means) > min(means):
        share = (mean - min(means)) / (max(means) - min(means))
        share = 0.38 * (share if better else 1 - share)
    mixed = [round(255 + (a - 255) * share) for a in ACCENT]
    return mixed[0], mixed[1], mixed[2]


def _small(pictures: "Pictures", study: str, key: str, side: int) -> "Image.Image | None":
    """A thumbnail of at most `side` px; None where it cannot be had."""
    from PIL import Image

    try:
        small = Image.open(io.BytesIO(pictures.thumb(study, key, side))).convert("RGB")
    except (StorageError, StudyError, OSError):
        return None
    scale = side / max(small.size)
    size = max(1, round(small.width * scale)), max(1, round(small.height * scale))
    return small if size == small.size else small.resize(size, Image.Resampling.LANCZOS)


def _hang(page: "Image.Image", small: "Image.Image | None", at: tuple[int, int], side: int) -> None:
    """In the middle of its square; an empty frame where there is none."""
    from PIL import ImageDraw

    x, y = at
    if small is None:
        ImageDraw.Draw(page).rectangle((x, y, x + side - 1, y + side - 1), outline=SOFT)
        return
    page.paste(small, (x + (side - small.width) // 2, y + (side - small.height) // 2))
