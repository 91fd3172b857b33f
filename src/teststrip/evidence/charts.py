"""The geometry of the report's drawings: where each mark stands. The template writes the SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from teststrip.evidence.effects import Effect
from teststrip.evidence.interval import Interval
from teststrip.evidence.numbers import Numbers
from teststrip.evidence.pareto import front
from teststrip.evidence.ranking import Ranked, Ranking


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
    """A point with its interval, in pixels, and its words."""

    x: float
    y: float
    low: float
    high: float
    label: str
    title: str
    kind: str = ""


@dataclass(frozen=True)
class Tick:
    """A place on an axis, in pixels, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """Everything that a drawing shows. `zero`: pixel of the value 0 on the y axis."""

    title: str
    width: int
    height: int
    marks: tuple[Mark, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero: float
    line: str = ""
    band: str = ""
    turned: bool = False
    caption: str = ""


def interval_bar(row: Ranked, scale: Scale) -> Mark | None:
    """A row's gain as a bar on the table's common scale."""
    gain = row.gain
    if not gain.units:
        return None
    low, high = _bounds(gain)
    return Mark(
        x=scale(gain.mean),
        y=0,
        low=scale(low),
        high=scale(high),
        label="",
        title="",
        kind=row.verdict.split()[0],
    )


def gain_scale(ranking: Ranking, start: float, end: float) -> Scale:
    """The common scale of the table's bars: the intervals of those that went far.

    A recipe that was stopped after 4 images may have an interval ten times as wide; held at the
    edge it says that, and the rest stays readable.
    """
    values = [0.0]
    for row in ranking.rows:
        if row.gain.units and row.level <= 1:
            values += _bounds(row.gain)
    return Scale(*_padded(min(values), max(values), 0.06), start, end)


def effect_charts(effects: Sequence[Effect], write: Numbers) -> tuple[Chart, ...]:
    """One drawing per parameter, all on one y scale so that they may be compared."""
    values = [0.0]
    for effect in effects:
        for level in effect.levels:
            values += _bounds(level.gain)
    low, high = _padded(min(values), max(values), 0.05)
    return tuple(_effect_chart(effect, low, high, write) for effect in effects)


def _effect_chart(effect: Effect, low: float, high: float, write: Numbers) -> Chart:
    width, turned = 340, not effect.numeric and len(effect.levels) > 3
    bottom = 58 if turned else 30
    height = 190 + bottom
    y = Scale(low, high, height - bottom, 14)
    x = _x_places(effect, 74, width - 22)
    marks = tuple(
        Mark(
            x=x[k],
            y=y(level.gain.mean),
            low=y(_bounds(level.gain)[0]),
            high=y(_bounds(level.gain)[1]),
            label=level.label,
            title=f"{effect.field} {level.label}: {write.signed(level.gain.mean)}"
            f" ({write.span(level.gain, signed=True) or 'no interval'})",
        )
        for k, level in enumerate(effect.levels)
    )
    line = band = ""
    if effect.numeric:
        line = " ".join(f"{m.x},{m.y}" for m in marks)
        there, back = [f"{m.x},{m.high}" for m in marks], [f"{m.x},{m.low}" for m in marks[::-1]]
        band = " ".join(there + back)
    return Chart(
        title=effect.field,
        width=width,
        height=height,
        marks=marks,
        x_ticks=_without_crowding(marks, effect.numeric),
        y_ticks=tuple(Tick(y(v), write.signed(v)) for v in y.ticks(4)),
        zero=y(0),
        line=line,
        band=band,
        turned=turned,
        caption=_effect_words(effect, write),
    )


def pareto_chart(ranking: Ranking, write: Numbers) -> Chart | None:
    """Seconds per image against gain; None where fewer than two recipes have both."""
    rows = [r for r in ranking.rows if r.seconds is not None and r.gain.units]
    if len(rows) < 2:
        return None
    width, height = 640, 360
    seconds = [r.seconds or 0.0 for r in rows]
    x = Scale(0, max(seconds) * 1.06 or 1.0, 66, width - 20)
    gains = [0.0, *(r.gain.mean for r in rows)]
    y = Scale(*_padded(min(gains), max(gains), 0.08), height - 44, 16)
    on_front = set(front(ranking.rows))
    marks = tuple(
        Mark(
            x=x(row.seconds or 0.0),
            y=y(row.gain.mean),
            low=y(_bounds(row.gain)[0]),
            high=y(_bounds(row.gain)[1]),
            label="baseline" if row.recipe_id == ranking.baseline else "",
            title=f"{', '.join(f'{k} {v}' for k, v in row.settings.items())}: "
            f"{write.signed(row.gain.mean)}, {row.seconds:.2g} s",
            kind="front" if row.recipe_id in on_front else "stopped" if row.stopped else "finalist",
        )
        for row in reversed(rows)
    )
    fronts = sorted((m for m in marks if m.kind == "front"), key=lambda m: m.x)
    return Chart(
        title="Gain against seconds per image",
        width=width,
        height=height,
        marks=marks,
        x_ticks=tuple(Tick(x(v), f"{v:g} s") for v in x.ticks(6)),
        y_ticks=tuple(Tick(y(v), write.signed(v)) for v in y.ticks(6)),
        zero=y(0),
        line=" ".join(f"{m.x},{m.y}" for m in fronts),
    )


def _x_places(effect: Effect, start: float, end: float) -> list[float]:
    count = len(effect.levels)
    even = Scale(0, 1, start, end)
    if effect.numeric:
        values = [float(level.value) for level in effect.levels]
        spread = min((b - a for a, b in pairwise(values)), default=1.0)
        if spread > (values[-1] - values[0]) / 12:  # far enough apart to stand where they belong
            x = Scale(values[0], values[-1], start, end)
            return [x(v) for v in values]
        return [even(k / max(count - 1, 1)) for k in range(count)]
    return [even((k + 0.5) / count) for k in range(count)]


def _without_crowding(marks: Sequence[Mark], numeric: bool) -> tuple[Tick, ...]:
    if not numeric:
        return tuple(Tick(m.x, _cut(m.label, 14)) for m in marks)
    kept: list[Tick] = []
    for mark in marks:
        label = mark.label.split(" to ")[0] if " to " in mark.label else mark.label
        room = 3.4 * (len(label) + (len(kept[-1].text) if kept else 0)) + 6
        if not kept or mark.x - kept[-1].at >= room:
            kept.append(Tick(mark.x, label))
    return tuple(kept)


def _effect_words(effect: Effect, write: Numbers) -> str:
    best = max(effect.levels, key=lambda level: level.gain.mean)
    worst = min(effect.levels, key=lambda level: level.gain.mean)
    grouped = " Values are grouped; the axis names each group's smallest." if effect.binned else ""
    return (
        f"Best at {best.label} ({write.signed(best.gain.mean)}), "
        f"worst at {worst.label} ({write.signed(worst.gain.mean)}).{grouped}"
    )


def _bounds(value: Interval) -> tuple[float, float]:
    low = value.mean if value.low is None else value.low
    return low, value.mean if value.high is None else value.high


def _padded(low: float, high: float, share: float) -> tuple[float, float]:
    room = (high - low) * share or max(abs(high), 1.0) * 0.1
    return low - room, high + room


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
