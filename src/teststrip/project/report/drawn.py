"""The curves as a PNG, for a comment on a merge request, which shows no SVG."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw

from teststrip.evidence.lettering import fit, font, length, letters
from teststrip.project.report.curves import HEIGHT, NOW, WIDTH, Line, Panel

SCALE, FINER = 2, 2  # of the picture over the panels' px; and drawn finer still, then shrunk
MARGIN, HEAD, GAP = 24, 62, 28
PAPER, INK, SOFT, FAINT, ACCENT, OLD = (
    "#ffffff",
    "#1b1b1a",
    "#66635d",
    "#e6e3dc",
    "#ad2418",
    "#8a867d",
)


def draw(panels: Sequence[Panel]) -> bytes:
    """PNG, two panels to a row at most. The same panels give the same bytes. Needs one at least."""
    across = min(len(panels), 2)
    down = -(-len(panels) // across)
    width = 2 * MARGIN + across * WIDTH + (across - 1) * GAP
    height = 2 * MARGIN + down * (HEIGHT + HEAD) + (down - 1) * GAP
    ratio = SCALE * FINER
    picture = Image.new("RGB", (width * ratio, height * ratio), PAPER)
    pen = ImageDraw.Draw(picture)
    for k, panel in enumerate(panels):
        x = MARGIN + (k % across) * (WIDTH + GAP)
        y = MARGIN + (k // across) * (HEIGHT + HEAD + GAP)
        _panel(pen, panel, x, y, ratio)
    small = picture.resize((width * SCALE, height * SCALE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.quantize(64, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG")
    return out.getvalue()


def _panel(pen: ImageDraw.ImageDraw, panel: Panel, x: int, y: int, ratio: int) -> None:
    def place(dx: float, dy: float) -> tuple[float, float]:
        return (x + dx) * ratio, (y + HEAD + dy) * ratio

    def text(at: tuple[float, float], words: str, size: int, fill: str, anchor: str = "ls") -> None:
        pen.text(at, letters(words), fill, font(words, size * ratio), anchor=anchor)

    title = fit(panel.title, 17 * ratio, WIDTH * ratio)
    text((x * ratio, (y + 17) * ratio), title, 17, INK)
    _legend(pen, panel.lines, x, y, ratio)
    for tick in panel.y_ticks:
        pen.line((*place(panel.left, tick.at), *place(panel.right, tick.at)), FAINT, ratio)
        text(place(panel.left - 8, tick.at), tick.text, 13, SOFT, "rm")
    for tick in panel.x_ticks:
        text(place(tick.at, panel.bottom + 20), tick.text, 13, SOFT, "ms")
    text(place((panel.left + panel.right) / 2, panel.height - 4), "step", 13, SOFT, "ms")
    for line in panel.lines:
        colour = ACCENT if line.kind == NOW else OLD
        points = [place(a, b) for a, b in line.points]
        if len(points) > 1:
            pen.line(points, colour, round(2 * ratio), joint="curve")
        if line.dots:
            for a, b in points:
                r = 3.2 * ratio
                pen.ellipse((a - r, b - r, a + r, b + r), colour)


def _legend(pen: ImageDraw.ImageDraw, lines: Sequence[Line], x: int, y: int, ratio: int) -> None:
    at = float(x * ratio)
    middle = (y + 38) * ratio
    room = WIDTH * ratio / max(len(lines), 1) - 40 * ratio
    for line in lines:
        colour = ACCENT if line.kind == NOW else OLD
        name = fit(line.name, 14 * ratio, room)
        pen.line((at, middle, at + 20 * ratio, middle), colour, round(2.4 * ratio))
        pen.text(
            (at + 27 * ratio, middle), letters(name), SOFT, font(name, 14 * ratio), anchor="lm"
        )
        at += length(name, 14 * ratio) + 48 * ratio
