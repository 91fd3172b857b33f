"""Quality against time: the finalists with their numbers, the stopped ones as open rings."""

import numpy as np

from teststrip.evidence.answer import sentence_name
from teststrip.evidence.charts.scale import Chart, Mark, Scale, Tick, bounds, padded, points
from teststrip.evidence.numbers import Numbers, count, duration
from teststrip.evidence.pareto import SECONDS, Front
from teststrip.evidence.ranking import Ranked, Ranking

MOST_STOPPED, MOST_FINALISTS = 300, 300


def front_chart(front: Front, ranking: Ranking, write: Numbers) -> Chart | None:
    """Cost per image against gain; None where fewer than two recipes have both.

    The front and the 300 best of the others are drawn. A stopped recipe far below all finalists is
    held at the bottom edge, so that the rest stays readable; its title says its gain.
    """
    timed = front.cost == SECONDS
    stopped = [
        r for r in ranking.rows if timed and r.stopped and r.seconds is not None and r.gain.units
    ][:MOST_STOPPED]
    if len(front.points) + len(stopped) < 2:
        return None
    width, height = 720, 380
    behind = sorted((p for p in front.points if not p.on_front), key=lambda p: -p.gain.mean)
    shown = [p for p in front.points if p.on_front] + behind[:MOST_FINALISTS]
    costs = [p.cost for p in shown] + [r.seconds or 0.0 for r in stopped]
    x = Scale(0, max(costs) * 1.06 or 1.0, 70, width - 20)
    gains = [0.0]
    for point in shown:
        gains += bounds(point.gain)
    spread = max(gains) - min(gains)
    others = [max(r.gain.mean, min(gains) - spread) for r in stopped]
    y = Scale(*padded(min([*gains, *others]), max([*gains, *others]), 0.08), height - 48, 16)
    rows = {r.recipe_id: r for r in ranking.rows}
    numbers = {name: k for k, name in enumerate(front.ids, 1)}
    marks = [
        Mark(
            x=x(r.seconds or 0.0),
            y=y(r.gain.mean),
            low=0,
            high=0,
            title=f"{_words(r, write)}, {duration(r.seconds)}, stopped early",
            kind="stopped",
            key=r.recipe_id,
        )
        for r in reversed(stopped)
    ]
    for point in shown:
        row = rows[point.recipe_id]
        is_baseline = point.recipe_id == ranking.baseline
        cost = duration(point.cost) if timed else f"{point.cost:.3g} model calls"
        label = str(numbers[point.recipe_id]) if point.on_front else ""
        marks.append(
            Mark(
                x=x(point.cost),
                y=y(point.gain.mean),
                low=y(bounds(point.gain)[0]),
                high=y(bounds(point.gain)[1]),
                label=label or ("baseline" if is_baseline else ""),
                title=f"{_words(row, write)}, {cost}",
                kind="front" if point.on_front else "baseline" if is_baseline else "finalist",
                key=point.recipe_id,
            )
        )
    unit = "s" if timed else ""
    return Chart(
        title=f"Gain against {front.cost} per image",
        width=width,
        height=height,
        left=66,
        marks=tuple(marks),
        x_ticks=tuple(Tick(x(v), f"{v:g} {unit}".strip()) for v in x.ticks(6)),
        y_ticks=tuple(Tick(y(v), write.signed(v)) for v in y.ticks(6)),
        zero=y(0),
        line=points([m for m in marks if m.kind == "front"]),
        x_title=f"{front.cost} per image",
    )


def _words(row: Ranked, write: Numbers) -> str:
    """`guidance 3: +0.12 (+0.08 to +0.15), 32 images`."""
    span = write.span(row.gain, signed=True) or "no interval"
    gain = f"{write.signed(row.gain.mean)} ({span})"
    return f"{sentence_name(row)}: {gain}, {count(row.images, 'image')}"


def far_below(chart: Chart) -> int:
    """Stopped recipes that are held at the bottom edge."""
    edge = chart.height - 48
    return int(np.sum([m.kind == "stopped" and m.y >= edge for m in chart.marks]))
