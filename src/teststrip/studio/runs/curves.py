"""Loss, learning rate and the like over steps, and gains by checkpoint, ready to be drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teststrip.evidence.charts.scale import Mark, Scale, Tick, bounds, padded
from teststrip.evidence.numbers import Numbers
from teststrip.studio.runs.scores import Standing

WIDTH, LEFT, RIGHT, TOP, FOOT = 760, 58, 16, 12, 30
TALL, SMALL = 250, 150
MOST_POINTS = 400
SMOOTH = 0.9
MOST_SMALL = 12
KINDS = 4
NOISY = 40  # points from which on a loss needs its moving mean


@dataclass(frozen=True)
class Line:
    """A curve: its points as SVG wants them. `smooth`: the moving mean of a noisy one."""

    name: str
    kind: int
    points: str
    smooth: str
    last: str


@dataclass(frozen=True)
class Drawing:
    """`steps`: checkpoint -> x in pixels. `marks`: gains with their intervals."""

    title: str
    height: int
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    steps: Mapping[int, float]
    lines: tuple[Line, ...] = ()
    marks: tuple[Mark, ...] = ()
    zero: float | None = None
    width: int = WIDTH
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP

    @property
    def bottom(self) -> int:
        """Where the plot ends, px."""
        return self.height - FOOT


def drawings(
    curves: Mapping[str, list[tuple[int, float]]], checkpoints: Sequence[int], last: int
) -> list[Drawing]:
    """All losses in one drawing, then a small one for each other curve. `last`: the last step."""
    losses = {n: c for n, c in curves.items() if n.endswith("loss") or n.startswith("loss")}
    others = {n: c for n, c in curves.items() if n not in losses}
    out = [_drawing("Loss", losses, checkpoints, last, TALL)] if losses else []
    for name, curve in list(others.items())[:MOST_SMALL]:
        out.append(_drawing(name, {name: curve}, checkpoints, last, SMALL))
    return out


def _drawing(
    title: str,
    curves: Mapping[str, list[tuple[int, float]]],
    checkpoints: Sequence[int],
    last: int,
    height: int,
) -> Drawing:
    values = [v for curve in curves.values() for _, v in curve]
    low, high = min(values), max(values)
    if low == high and low:  # a constant, such as a learning rate: the scale is its own
        low, high = sorted((0.9 * low, 1.1 * low))
    y = Scale(*padded(low, high, 0.05), height - FOOT, TOP)
    x = _x(last)
    return Drawing(
        title=title,
        height=height,
        x_ticks=tuple(Tick(x(v), f"{v:g}") for v in x.ticks(8)),
        y_ticks=tuple(Tick(y(v), f"{v:.4g}") for v in y.ticks(5 if height == TALL else 3)),
        steps={step: x(step) for step in checkpoints},
        lines=tuple(
            Line(
                name=name,
                kind=k % KINDS,
                points=_points(_thinned(curve), x, y),
                smooth=_points(_thinned(_smooth(curve)), x, y)
                if name.endswith("loss") and len(curve) > NOISY
                else "",
                last=f"{curve[-1][1]:.4g} at step {curve[-1][0]:,}",
            )
            for k, (name, curve) in enumerate(sorted(curves.items()))
        ),
    )


def gain_drawing(found: Mapping[int, Sequence[Standing]], column: str, last: int) -> Drawing | None:
    """The paired difference to the base model by checkpoint; None where there is none."""
    gains = {
        step: s.gain for step, all_ in found.items() for s in all_ if s.column == column and s.gain
    }
    if not gains:
        return None
    ends = [0.0, *(v for gain in gains.values() for v in bounds(gain))]
    y = Scale(*padded(min(ends), max(ends), 0.08), 190 - FOOT, TOP)
    x = _x(last)
    write = Numbers.of(gains.values())
    return Drawing(
        title=f"{column}: difference to the base model",
        height=190,
        x_ticks=tuple(Tick(x(v), f"{v:g}") for v in x.ticks(8)),
        y_ticks=tuple(Tick(y(v), write.signed(v)) for v in y.ticks(4)),
        steps={step: x(step) for step in found},
        marks=tuple(
            Mark(
                x=x(step),
                y=y(gain.mean),
                low=y(bounds(gain)[0]),
                high=y(bounds(gain)[1]),
                label=str(step),
                title=f"step {step}: {write.signed(gain.mean)} "
                f"({write.span(gain, signed=True) or 'no interval'}), {gain.units} prompts",
            )
            for step, gain in gains.items()
        ),
        zero=y(0),
    )


def _x(last: int) -> Scale:
    return Scale(0, max(last, 1), LEFT, WIDTH - RIGHT)


def _points(curve: Sequence[tuple[int, float]], x: Scale, y: Scale) -> str:
    return " ".join(f"{x(step)},{y(value)}" for step, value in curve)


def _smooth(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Exponential moving mean whose weights sum to one from the first point on."""
    total = weight = 0.0
    out = []
    for step, value in curve:
        total = SMOOTH * total + (1 - SMOOTH) * value
        weight = SMOOTH * weight + (1 - SMOOTH)
        out.append((step, total / weight))
    return out


def _thinned(curve: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most MOST_POINTS points; of each stretch the lowest and the highest, so spikes stay."""
    if len(curve) <= MOST_POINTS:
        return list(curve)
    size = -(-len(curve) // (MOST_POINTS // 2))
    kept = []
    for first in range(0, len(curve), size):
        part = curve[first : first + size]
        kept += sorted({min(part, key=lambda p: p[1]), max(part, key=lambda p: p[1])})
    return kept
