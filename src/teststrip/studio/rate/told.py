"""After the vote: what the two images were made with, and how they were scored."""

# ruff: noqa: S608 - SQL holds the index's own table names and quoted columns only

from typing import Any

from teststrip.evidence.numbers import show
from teststrip.studio.index import Entry, Index

RECIPE = "recipe."  # dummy parameters, `param.`, change nothing in a picture


def told(index: Index, entry: Entry, left: str, right: str) -> list[dict[str, Any]]:
    """Settings and scores that differ: [{"name", "left", "right"}], settings first."""
    settings = {s.field: s.label for s in entry.settings if s.field.startswith(RECIPE)}
    names = settings | {s.column: s.column for s in entry.scores}
    columns = ", ".join(_quoted(name) for name in names)
    if not names:
        return []
    rows = {
        key: index.query(
            f"SELECT {columns} FROM {index.table(entry.name)} WHERE image_key = ? LIMIT 1", [key]
        )
        for key in (left, right)
    }
    if not all(rows.values()):
        return []
    a, b = rows[left][0], rows[right][0]
    return [
        {"name": label, "left": _written(a[field]), "right": _written(b[field])}
        for field, label in names.items()
        if a[field] != b[field]
    ]


def words(index: Index, entry: Entry) -> dict[str, str]:
    """recipe_id -> its settings in words."""
    settings = [s for s in entry.settings if s.field.startswith(RECIPE)] or entry.settings
    if not settings:
        return {}
    picked = ", ".join(f"any_value({_quoted(s.field)}) AS {_quoted(s.field)}" for s in settings)
    rows = index.query(
        f"SELECT recipe_id, {picked} FROM {index.table(entry.name)} GROUP BY recipe_id"
    )
    return {
        row["recipe_id"]: ", ".join(
            f"{s.label} {_written(row[s.field])}" for s in settings if row[s.field] is not None
        )
        for row in rows
    }


def _written(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(show(value))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
