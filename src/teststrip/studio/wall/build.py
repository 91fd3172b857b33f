"""Wall: a view's axes, cells and matched images, put in order; and the images without axes."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, NamedTuple

from teststrip.errors import ConfigError
from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import fields as known
from teststrip.studio.wall import query
from teststrip.studio.wall.axes import Axis, Value, axis_of, in_order
from teststrip.studio.wall.view import View

MOST_CELLS = 5000
Cell = dict[str, Any]


class Shown(NamedTuple):
    """An image of a cell. `slot`: from 1. `s`: its score. `among`: how many it stands for."""

    slot: int
    key: str
    s: float | None
    among: int
    prompt_id: str
    seed: int


@dataclass
class Wall:
    """`columns`, `rows`: outer and inner value each. `cells`: by (row, column) number."""

    columns: list[tuple[Value | None, Value | None]]
    rows: list[tuple[Value | None, Value | None]]
    cells: dict[tuple[int, int], Cell]
    hidden: list[tuple[str, Value]] = field(default_factory=list)


def build(view: View, entry: Entry, index: Index) -> Wall:
    """The wall of a view with axes. Raises ConfigError where it has over 5,000 cells."""
    named = [(side, name) for side, name in zip("xyuv", view.axes, strict=True) if name]
    axes = [axis_of(name, entry, index) for _, name in named]
    table = index.table(entry.name)
    asked, hung = (ask(view, entry, table, axes) for ask in (query.cells, query.matched))
    with ThreadPoolExecutor(1) as beside:  # a query of one study runs on one core
        matched = beside.submit(index.rows, hung.sql, hung.values)
        rows = index.query(asked.sql, asked.values)
    prompts = _prompts(axes, index, table)
    values = _values(axes, rows, prompts)
    gone = {(name, key) for name, keys in view.hidden for key in keys}
    hidden = [
        (axis.field.name, value)
        for i, axis in enumerate(axes)
        for value in values[i].values()
        if (axis.field.name, value.key) in gone
    ]
    shown = [row for row in rows if not _is_gone(row, axes, values, gone)]
    if len(shown) > MOST_CELLS:
        raise ConfigError(
            f"this wall has {len(shown):,} cells; at most {MOST_CELLS:,} are shown: choose another "
            "axis, filter, or look at all images without axes"
        )
    for row in shown:
        _judge(row, view, entry)
    places = {side: i for i, (side, _) in enumerate(named)}
    order = [_order(i, shown, view, entry) for i in range(len(axes))]
    columns = _lines(shown, places.get("u"), places.get("x"), order)
    lines = _lines(shown, places.get("v"), places.get("y"), order)
    _hang(shown, matched.result(), len(axes))
    return Wall(
        [_pair(pair, places.get("u"), places.get("x"), values) for pair in columns],
        [_pair(pair, places.get("v"), places.get("y"), values) for pair in lines],
        _placed(shown, columns, lines, places),
        hidden,
    )


def _prompts(axes: list[Axis], index: Index, table: str) -> dict[str, str]:
    if not any(axis.field.name == "prompt_id" for axis in axes):
        return {}
    sql = f"SELECT prompt_id, any_value(prompt) AS p FROM {table} GROUP BY prompt_id"  # noqa: S608
    return {row["prompt_id"]: (row["p"] or "")[:200] for row in index.query(sql)}


def _values(axes: list[Axis], rows: list[Cell], prompts: dict[str, str]) -> list[dict[Any, Value]]:
    return [
        {raw: axis.value(raw, prompts) for raw in {row[f"a{i}"] for row in rows}}
        for i, axis in enumerate(axes)
    ]


def _is_gone(
    row: Cell, axes: list[Axis], values: list[dict[Any, Value]], gone: set[tuple[str, str]]
) -> bool:
    if not gone:
        return False
    return any(
        (axis.field.name, values[i][row[f"a{i}"]].key) in gone for i, axis in enumerate(axes)
    )


def _judge(row: Cell, view: View, entry: Entry) -> None:
    """Add the interval, and what the cell is sorted by as `o`."""
    half, mean = query.half_width(row["deviation"], row["prompts"]), row["mean"]
    row["low"] = None if half is None else mean - half
    row["high"] = None if half is None else mean + half
    if view.sort.removeprefix("-") == "lower":
        up = known.higher_is_better(view.score or "", entry)
        row["o"] = row["low"] if up else row["high"]
    row["images_shown"] = []


def _order(i: int, rows: list[Cell], view: View, entry: Entry) -> dict[Any, int]:
    """The place of each value of axis `i`: in its own order, or by the mean over its cells."""
    natural = in_order({row[f"a{i}"] for row in rows})
    sort = view.sort.removeprefix("-")
    if sort == "order":
        return {raw: place for place, raw in enumerate(natural)}
    judged: dict[Any, list[float]] = {raw: [] for raw in natural}
    for row in rows:
        if row["o"] is not None:
            judged[row[f"a{i}"]].append(row["o"])
    by = (view.score or "") if sort == "lower" else sort
    down = known.higher_is_better(by, entry) is not view.sort.startswith("-")
    means = {raw: fmean(some) for raw, some in judged.items() if some}
    known_first = sorted(means, key=lambda raw: -means[raw] if down else means[raw])
    rest = [raw for raw in natural if raw not in means]
    return {raw: place for place, raw in enumerate([*known_first, *rest])}


def _lines(
    rows: list[Cell], outer: int | None, inner: int | None, order: list[dict[Any, int]]
) -> list[tuple[Any, Any]]:
    """Pairs of outer and inner value that have a cell, in order."""

    def place(pair: tuple[Any, Any]) -> tuple[int, int]:
        a = order[outer][pair[0]] if outer is not None else 0
        return a, order[inner][pair[1]] if inner is not None else 0

    found = {_raw_pair(row, outer, inner) for row in rows}
    return sorted(found, key=place)


def _raw_pair(row: Cell, outer: int | None, inner: int | None) -> tuple[Any, Any]:
    return (
        row[f"a{outer}"] if outer is not None else None,
        row[f"a{inner}"] if inner is not None else None,
    )


def _pair(
    pair: tuple[Any, Any], outer: int | None, inner: int | None, values: list[dict[Any, Value]]
) -> tuple[Value | None, Value | None]:
    return (
        values[outer][pair[0]] if outer is not None else None,
        values[inner][pair[1]] if inner is not None else None,
    )


def _placed(
    rows: list[Cell], columns: list[Any], lines: list[Any], places: dict[str, int]
) -> dict[tuple[int, int], Cell]:
    """Cells by the numbers of their line and column."""
    column_of = {pair: i for i, pair in enumerate(columns)}
    line_of = {pair: i for i, pair in enumerate(lines)}
    v, y, u, x = (places.get(side) for side in "vyux")
    return {(line_of[_raw_pair(r, v, y)], column_of[_raw_pair(r, u, x)]): r for r in rows}


def _hang(shown: list[Cell], rows: list[tuple[Any, ...]], axes: int) -> None:
    """Matched images into their cells, as bare tuples in the order of `Shown`: a wall has
    thousands, and the collector of garbage leaves tuples of texts and numbers alone."""
    names = [f"a{i}" for i in range(axes)]
    images_of = {tuple([cell[n] for n in names]): cell["images_shown"] for cell in shown}
    for row in rows:
        images = images_of.get(row[:axes])
        if images is not None:
            images.append(row[axes:])
