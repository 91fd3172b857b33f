"""The form of a wall: what can be chosen, and what is chosen now."""

from dataclasses import dataclass
from typing import Any

from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.axes import in_order
from teststrip.studio.wall.view import PER, SIZES, View, part

MOST_BOXES, MOST_SEEDS = 16, 40


@dataclass(frozen=True)
class Box:
    """A box to tick: its value in the address."""

    value: str
    label: str
    ticked: bool


@dataclass(frozen=True)
class Group:
    """Values of one field to tick, or (without) the ends of a range."""

    name: str
    label: str
    boxes: tuple[Box, ...] = ()
    low: str = ""
    high: str = ""
    hint: str = ""


@dataclass(frozen=True)
class Panel:
    """`extra`: parts of the address that no control shows, kept as they are."""

    axes: list[tuple[str, str]]
    scores: list[tuple[str, str]]
    sorts: list[tuple[str, str]]
    settings: list[Group]
    images: list[Group]
    ranges: list[Group]
    extra: list[tuple[str, str]]
    per: tuple[int, ...] = PER
    sizes: tuple[int, ...] = SIZES


def panel(view: View, entry: Entry, index: Index) -> Panel:
    """All controls of a view of this study."""
    fields = known.fields(entry)
    settings = [
        _boxes(s.field, s.label, s.values, view)
        if len(s.values) <= MOST_BOXES or not s.numeric
        else _range(s.field, s.label, view, s.values[0], s.values[-1])
        for s in entry.settings
    ]
    table = index.table(entry.name)
    own = []
    for name, label in (("split", "split"), ("seed", "seed")):
        rows = index.query(f"SELECT DISTINCT {name} AS v FROM {table} LIMIT {MOST_SEEDS + 1}")  # noqa: S608
        values = in_order({row["v"] for row in rows if row["v"] is not None})
        if 1 < len(values) <= MOST_SEEDS:
            own.append(_boxes(name, label, tuple(values), view))
    if entry.tags:
        own.append(_boxes("tag", "prompt tag", entry.tags, view))
    ranges = [_range(s.column, s.column, view, s.low, s.high) for s in entry.scores]
    ranges.append(_range("seconds", "seconds", view, None, None))
    if entry.paired:
        ranges.append(_range("lead", "lead", view, None, None))
    if len(entry.scores) > 1:
        ranges.append(_range("disagreement", "disagreement of scorers", view, 0, 1))
    groups = [*settings, *own, *ranges]
    shown = {(f"f.{g.name}", box.value) for g in groups for box in g.boxes}
    spans = {f"f.{g.name}.{end}" for g in groups if not g.boxes for end in ("min", "max")}
    return Panel(
        axes=[(name, fields[name].label) for name in known.axis_names(entry)],
        scores=[(name, name) for name in known.score_names(entry)],
        sorts=_sorts(entry),
        settings=settings,
        images=own,
        ranges=ranges,
        extra=[pair for pair in _parts(view) if pair not in shown and pair[0] not in spans],
    )


def _parts(view: View) -> list[tuple[str, str]]:
    """Filters and hidden values, a pair for each value."""
    out = [(f"f.{name}", part(v)) for name, values in view.sets for v in values]
    out += [(name, value) for name, value in view.query() if name.endswith((".min", ".max"))]
    return out + [(f"hide.{name}", part(v)) for name, values in view.hidden for v in values]


def _boxes(name: str, label: str, values: tuple[Any, ...], view: View) -> Group:
    chosen = dict(view.sets).get(name, ())
    boxes = tuple(
        Box(part(text), known.label_of(value), text in chosen)
        for value, text in ((v, known.text_of(v)) for v in values)
    )
    return Group(name, label, boxes)


def _range(name: str, label: str, view: View, low: Any, high: Any) -> Group:
    span = next((r for r in view.ranges if r.field == name), None)
    return Group(
        name,
        label,
        low=known.text_of(span.low) if span and span.low is not None else "",
        high=known.text_of(span.high) if span and span.high is not None else "",
        hint="" if low is None else f"{known.label_of(low)} to {known.label_of(high)}",
    )


def _sorts(entry: Entry) -> list[tuple[str, str]]:
    words = {
        "order": "as it comes",
        "lead": "lead",
        "lower": "lower bound",
        "disagreement": "disagreement of scorers",
        "seconds": "fastest",
    }
    return [(name, words.get(name, f"best {name}")) for name in known.sort_names(entry)]
