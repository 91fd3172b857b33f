"""Training curves as panels: one for each column of plots/curves.csv, before and after in each.

All that a drawing needs is worked out here, in pixels; the page's template (SVG) and drawn.py
(PNG) only put it down, so that both show the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teststrip.evidence.charts.scale import Scale, Tick, cut, padded
from teststrip.project.report.results import Results

WIDTH, HEIGHT = 520, 268
LEFT, RIGHT, TOP, FOOT = 62, 14, 14, 44
MOST_PANELS, MOST_POINTS = 6, 400
TITLES = {"loss": "Training loss, smoothed", "val_loss": "Held-out loss"}
OLD, NOW = "old", "now"


@dataclass(frozen=True)
class Line:
    """One run's curve: `name` in the legend, `points` in px; dots where it has few."""

    name: str
    kind: str
    points: tuple[tuple[float, float], ...]
    dots: bool

    @property
    def path(self) -> str:
        """As SVG wants it."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in self.points)


@dataclass(frozen=True)
class Panel:
    """One drawing, WIDTH x HEIGHT px. `words`: what it shows, for those who cannot see it."""

    title: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    words: str
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - FOOT


def panels(sides: Sequence[tuple[str, Results]]) -> tuple[Panel, ...]:
    """`sides`: name in the legend and results, earlier first; the last one is drawn in red."""
    columns = dict.fromkeys(
        name for _, results in reversed(sides) for name in results.curves if name != "step"
    )
    out = []
    for column in columns:
        found = [(name, _series(results.curves, column)) for name, results in sides]
        known = [(name, series) for name, series in found if series]
        if len(known) > 1 and all(series == known[0][1] for _, series in known):
            known = [(" and ".join(name for name, _ in known) + ", the same", known[0][1])]
        if known:
            out.append(_panel(column, known, sides[0][0] if len(sides) > 1 else ""))
    return tuple(out[:MOST_PANELS])


def smooth(values: Sequence[float], span: float) -> list[float]:
    """Exponentially weighted mean over about `span` values, its beginning corrected for bias."""
    share, mean, weight, out = 2 / (span + 1), 0.0, 0.0, []
    for value in values:
        mean += share * (value - mean)
        weight += share * (1 - weight)
        out.append(mean / weight)
    return out


def _series(curves: Mapping[str, Sequence[float]], column: str) -> list[tuple[float, float]]:
    """(step, value) where both are numbers, by step; training losses smoothed, then thinned."""
    pairs = zip(curves.get("step", ()), curves.get(column, ()), strict=False)
    known = sorted((x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y))
    if column == "loss" and len(known) > 20:
        values = smooth([y for _, y in known], len(known) / 12)
        known = [(x, y) for (x, _), y in zip(known, values, strict=True)]
    step = math.ceil(len(known) / MOST_POINTS) or 1
    return known[::step] if (len(known) - 1) % step == 0 else [*known[::step], known[-1]]


def _panel(
    column: str, known: Sequence[tuple[str, list[tuple[float, float]]]], earlier: str
) -> Panel:
    every = [point for _, series in known for point in series]
    x = Scale(*_range([p[0] for p in every]), LEFT + 6, WIDTH - RIGHT - 8)
    y = Scale(*padded(min(p[1] for p in every), max(p[1] for p in every), 0.06), HEIGHT - FOOT, TOP)
    lines = tuple(
        Line(
            name=cut(name, 40),
            kind=OLD if name == earlier else NOW,
            points=tuple((x(a), y(b)) for a, b in series),
            dots=len(series) <= 24,
        )
        for name, series in known
    )
    ticks = next((t for t in map(y.ticks, (4, 5, 6)) if len(t) > 2), y.ticks(8))
    title = TITLES.get(column, column)
    return Panel(
        title=title,
        lines=lines,
        x_ticks=tuple(Tick(x(v), f"{v:,.0f}") for v in x.ticks(6) if v == round(v)),
        y_ticks=tuple(Tick(y(v), text) for v, text in zip(ticks, _even(ticks), strict=True)),
        words="; ".join(_said(title, name, series) for name, series in known),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low, low + 1)


def _even(ticks: Sequence[float]) -> list[str]:
    """All with as many decimals as tell them apart."""
    for digits in range(7):
        texts = [f"{tick:.{digits}f}" for tick in ticks]
        if [float(text) for text in texts] == [round(tick, 9) for tick in ticks]:
            return texts
    return [f"{tick:.3g}" for tick in ticks]


def _said(title: str, name: str, series: Sequence[tuple[float, float]]) -> str:
    (start, first), (end, final) = series[0], series[-1]
    lowest = min(series, key=lambda point: point[1])
    return (
        f"{title}, {name}: {first:.4g} at step {start:g}, {final:.4g} at step {end:g}, "
        f"lowest {lowest[1]:.4g} at step {lowest[0]:g}"
    )
