"""Text on pictures, readable on every machine: PIL's own font, others only where letters need it.

PIL's built-in scalable font (Aileron) has the Latin letters; a prompt in another script takes
the first font of the system that has any, and loses its accents or letters where there is none.
"""

import unicodedata
from functools import lru_cache

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
_COVERED = frozenset("±·…©°’“")
_OTHERS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "Arial.ttf")


def is_covered(text: str) -> bool:
    """PIL's own font has every letter."""
    return all(" " <= c <= "~" or c in _COVERED for c in text)


@lru_cache(maxsize=1)
def other_font() -> str | None:
    """The first of the usual fonts that this system has."""
    for name in _OTHERS:
        try:
            ImageFont.truetype(name, 12)
        except OSError:
            continue
        return name
    return None


@lru_cache(maxsize=64)
def _sized(name: str | None, size: int) -> Font:
    return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)


def font(text: str, size: int) -> Font:
    """The font to draw `text` in, `size` px; `letters` makes a minus one that PIL's own has."""
    return _sized(None if is_covered(text.replace("−", "-")) else other_font(), size)


def letters(text: str) -> str:
    """`text` on one line, as far as the machine's fonts can write it."""
    text = " ".join(text.replace("−", "-").split())
    if is_covered(text) or other_font():
        return text
    plain = unicodedata.normalize("NFKD", text)
    return "".join(c if is_covered(c) else "?" for c in plain if not unicodedata.combining(c))


def length(text: str, size: int) -> float:
    """Width in px."""
    return font(text, size).getlength(text)


def fit(text: str, size: int, width: float) -> str:
    """`text`, cut with an ellipsis where it is wider than `width` px."""
    text = letters(text)[:1000]
    if length(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if length(text[:middle].rstrip() + "…", size) <= width:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip() + "…"


def wrap(text: str, size: int, width: float, lines: int) -> list[str]:
    """`text` in at most `lines` lines of `width` px; the last one is cut with an ellipsis."""
    words = letters(text)[:2000].split()
    out: list[str] = []
    while words and len(out) < lines - 1:
        line = words.pop(0)
        while words and length(f"{line} {words[0]}", size) <= width:
            line = f"{line} {words.pop(0)}"
        out.append(fit(line, size, width))
    if words:
        out.append(fit(" ".join(words), size, width))
    return out
