"""Values to pixels; what all drawings are made of."""

import math
from dataclasses import dataclass

from teststrip.evidence.interval import Interval


@dataclass(frozen=True)
class Scale:
    """Maps values in [low, high] to pixels in [start, end]; values beyond are held at the edge."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Pixels, with one decimal."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + min(max(share, 0.0), 1.0) * (self.end - self.start), 1)

    def ticks(self, most: int = 5) -> list[float]:
        """Round values inside the scale: 1, 2 or 5 times a power of ten apart."""
        step = 10 ** math.floor(math.log10((self.high - self.low) / most))
        step = next(s * step for s in (1, 2, 5, 10) if (self.high - self.low) / (s * step) <= most)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(k * step, 12) + 0.0 for k in range(first, last + 1)]


@dataclass(frozen=True)
class Mark:
    """A point with its interval, in pixels, and its words.

    `key`: what it stands for: a recipe's id, or the place of its level (`2`; `2,0` of a pair).
    """

    x: float
    y: float
    low: float
    high: float
    label: str = ""
    title: str = ""
    kind: str = ""
    key: str = ""


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in pixels, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Line:
    """One curve of a drawing: its points as SVG wants them, its marks, its name at the end."""

    points: str
    marks: tuple[Mark, ...]
    name: str
    kind: str
    shape: str
    name_y: float = 0.0


@dataclass(frozen=True)
class Chart:
    """Everything that a drawing shows. `zero`: pixel of the value 0 on the y axis.

    `left`: where the plot begins. `band`, `line`: a curve and its interval; `lines`: several.
    `words` say what it shows, `caption` its numbers.
    """

    title: str
    width: int
    height: int
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero: float
    left: int = 60
    line: str = ""
    band: str = ""
    lines: tuple[Line, ...] = ()
    turned: bool = False
    quiet: bool = False
    words: str = ""
    caption: str = ""
    x_title: str = ""


def bounds(value: Interval) -> tuple[float, float]:
    """Both ends of an interval; the mean where it has none."""
    low = value.mean if value.low is None else value.low
    return low, value.mean if value.high is None else value.high


def padded(low: float, high: float, share: float) -> tuple[float, float]:
    """A range with some room at both ends, never empty."""
    room = (high - low) * share or max(abs(high), 1.0) * 0.1
    return low - room, high + room


def cut(text: str, length: int) -> str:
    """At most `length` letters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def points(marks: "tuple[Mark, ...] | list[Mark]") -> str:
    """A polyline through the marks."""
    return " ".join(f"{m.x},{m.y}" for m in marks)
