"""Filters as SQL: a condition and its values. Names come from `fields`, values go through `?`."""

from typing import Any

from teststrip.studio.index import Entry
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.view import View

Condition = tuple[str, list[Any]]


def where(view: View, entry: Entry) -> Condition:
    """The images that a view is about."""
    fields = known.fields(entry)
    conditions: list[Condition] = []
    for name, values in view.sets:
        conditions.append(_is_one_of(fields[name], values))
    for span in view.ranges:
        column = fields[span.field].sql
        if span.low is not None:
            conditions.append((f"{column} >= ?", [span.low]))
        if span.high is not None:
            conditions.append((f"{column} <= ?", [span.high]))
    if view.q:
        conditions.append(("contains(lower(prompt), lower(?))", [view.q]))
    if view.status != "all":
        conditions.append((f"status {'=' if view.status == 'ok' else '<>'} 'ok'", []))
    if not conditions:
        return "true", []
    return " AND ".join(sql for sql, _ in conditions), [v for _, some in conditions for v in some]


def _is_one_of(field: known.Field, values: tuple[str, ...]) -> Condition:
    given = [v for v in values if v != known.NOTHING]
    parts, numbers = [], [known.number_of(v) for v in given]
    marks = ", ".join("?" * len(given))
    if given and field.kind == "tags":
        parts.append(f"list_has_any({field.sql}, [{marks}])")
    elif given and field.kind == "number":
        parts.append(f"{field.sql} IN ({marks})")
    elif given:  # flags are written true and false by DuckDB as by `text_of`
        parts.append(f"CAST({field.sql} AS VARCHAR) IN ({marks})")
    if known.NOTHING in values:
        none = f"len({field.sql}) = 0 OR " if field.kind == "tags" else ""
        parts.append(f"{none}{field.sql} IS NULL")
    return f"({' OR '.join(parts)})", list(numbers if field.kind == "number" else given)
