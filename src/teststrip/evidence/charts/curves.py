"""What each parameter does: one drawing each, all on one scale; two parameters together."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from teststrip.evidence.charts.scale import (
    Chart,
    Line,
    Mark,
    Scale,
    Tick,
    bounds,
    cut,
    padded,
    points,
)
from teststrip.evidence.effects import Effect, Interaction
from teststrip.evidence.numbers import Numbers, count

MOST_LINES, MOST_NAMED = 6, 5
SHAPES = ("circle", "square", "diamond", "circle", "square", "diamond")
WIDTH, HEIGHT, FOOT, TURNED = 340, 190, 30, 58


def effect_charts(effects: Sequence[Effect], write: Numbers) -> tuple[Chart, ...]:
    """One drawing per parameter, all on one y scale so that they may be compared.

    A parameter without evidence of an effect is `quiet`: drawn in grey, dashed.
    """
    values = [0.0]
    for effect in effects:
        for level in effect.levels:
            values += bounds(level.gain)
    low, high = padded(min(values), max(values), 0.05)
    return tuple(_effect_chart(e, low, high, write) for e in effects)


def _effect_chart(effect: Effect, low: float, high: float, write: Numbers) -> Chart:
    turned = not effect.numeric and len(effect.levels) > 3
    bottom = TURNED if turned else FOOT
    height = HEIGHT + bottom
    y = Scale(low, high, height - bottom, 14)
    x = _x_places(effect, 74, WIDTH - 22)
    marks = tuple(
        Mark(
            x=x[k],
            y=y(level.gain.mean),
            low=y(bounds(level.gain)[0]),
            high=y(bounds(level.gain)[1]),
            label=level.label,
            title=f"{effect.field} {level.label}: {write.signed(level.gain.mean)}"
            f" ({write.span(level.gain, signed=True) or 'no interval'}), "
            f"{count(level.recipes, 'recipe')} on {count(effect.blocks, 'block')}",
            key=str(k),
        )
        for k, level in enumerate(effect.levels)
    )
    line = band = ""
    if effect.numeric:
        line = points(marks)
        there, back = [f"{m.x},{m.high}" for m in marks], [f"{m.x},{m.low}" for m in marks[::-1]]
        band = " ".join(there + back)
    return Chart(
        title=effect.field,
        width=WIDTH,
        height=height,
        marks=marks,
        x_ticks=_without_crowding(marks, effect.numeric),
        y_ticks=tuple(Tick(y(v), write.signed(v)) for v in y.ticks(4)),
        zero=y(0),
        line=line,
        band=band,
        turned=turned,
        quiet=effect.words.startswith("no evidence"),
        words=effect.words,
        caption=_effect_words(effect, write),
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
        return tuple(Tick(m.x, cut(m.label, 14)) for m in marks)
    kept: list[Tick] = []
    for mark in marks:
        label = mark.label.split(" to ")[0] if " to " in mark.label else mark.label
        room = 3.7 * (len(label) + (len(kept[-1].text) if kept else 0)) + 10
        if not kept or mark.x - kept[-1].at >= room:
            kept.append(Tick(mark.x, label))
    return tuple(kept)


def _effect_words(effect: Effect, write: Numbers) -> str:
    best = max(effect.levels, key=lambda level: level.gain.mean)
    worst = min(effect.levels, key=lambda level: level.gain.mean)
    ends = (
        f"Best at {best.label} ({write.signed(best.gain.mean)}), "
        f"worst at {worst.label} ({write.signed(worst.gain.mean)})."
    )
    others = [label for label in effect.best_range if label != best.label]
    as_good = f" As good as the best: {', '.join(others[:MOST_NAMED])}" if others else ""
    if len(others) > MOST_NAMED:
        as_good += f" and {len(others) - MOST_NAMED} more"
    grouped = " Values are grouped; the axis names each group's smallest." if effect.binned else ""
    return f"{ends}{as_good}{'.' if as_good else ''}{grouped}"


def interaction_chart(found: Interaction, write: Numbers) -> Chart:
    """A line for each level of the second parameter over the levels of the first.

    Lines differ in dash and marker, and each has its name at its end.
    """
    lines = range(min(len(found.labels[1]), MOST_LINES))
    cells = [(i, k, row[k]) for i, row in enumerate(found.gain) for k in lines if row[k]]
    known = [0.0]
    for _, _, gain in cells:
        if gain is not None:
            known += [gain.mean]
    width, height = 720, 320
    y = Scale(*padded(min(known), max(known), 0.08), height - 50, 16)
    x = _x_of(found, 96, width - 170)
    first, second = found.fields
    drawn = []
    for k in lines:
        marks = tuple(
            Mark(
                x=x[i],
                y=y(gain.mean),
                low=0,
                high=0,
                label=found.labels[0][i],
                title=f"{first} {found.labels[0][i]}, {second} {found.labels[1][k]}: "
                f"{write.signed(gain.mean)} ({write.span(gain, signed=True) or 'no interval'}), "
                f"{count(found.recipes[i][k], 'recipe')} on {count(found.blocks, 'block')}",
                key=f"{i},{k}",
            )
            for i, line, gain in cells
            if line == k and gain is not None
        )
        if marks:
            name = f"{second} {cut(found.labels[1][k], 18)}"
            drawn.append(Line(points(marks), marks, name, f"line{k}", SHAPES[k]))
    counts = [n for row in found.recipes for n in row if n]
    behind = f"{min(counts)} to {max(counts)}" if min(counts) < max(counts) else str(counts[0])
    return Chart(
        title=f"{first} and {second} together",
        width=width,
        height=height,
        left=72,
        marks=(),
        x_ticks=tuple(Tick(x[i], cut(label, 16)) for i, label in enumerate(found.labels[0])),
        y_ticks=tuple(Tick(y(v), write.signed(v)) for v in y.ticks(5)),
        zero=y(0),
        lines=_apart(drawn),
        caption=f"Advantage over the average recipe; each point is the mean of {behind} recipes on "
        f"{found.blocks} blocks of {found.prompts} prompts (hold the pointer on one for its "
        "interval). Where lines are not parallel, one setting changes what the other does.",
        x_title=first,
    )


def _x_of(found: Interaction, start: float, end: float) -> list[float]:
    even = Scale(0, 1, start, end)
    count = max(len(found.values) - 1, 1)
    return [even(k / count) for k in range(len(found.values))]


def _apart(lines: list[Line]) -> tuple[Line, ...]:
    """Names at the lines' ends, moved apart where they would overlap."""
    placed: list[Line] = []
    for line in sorted(lines, key=lambda one: one.marks[-1].y):
        floor = placed[-1].name_y + 17 if placed else 0.0
        placed.append(replace(line, name_y=max(line.marks[-1].y + 4, floor)))
    return tuple(placed)
