"""A wall as JSON or CSV: the numbers of its cells, or the images of a view without axes."""

import csv
import io
import json
from typing import Any

from teststrip.errors import ConfigError
from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import fields as known
from teststrip.studio.wall import payload, query
from teststrip.studio.wall.build import Shown, Wall
from teststrip.studio.wall.view import AXES, View

MOST_ROWS = 100_000
NUMBERS = ("total", "failed", "images", "prompts", "mean", "low", "high", "seconds")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_json(wall: Wall | None, view: View, entry: Entry, index: Index) -> bytes:
    """The view's address, what it shows, and `cells` or `images`."""
    fields = known.fields(entry)
    body: dict[str, Any] = {
        "study": entry.name,
        "address": view.address(),
        "score": view.score,
        "higher_is_better": known.higher_is_better(view.score or "", entry),
        "interval": "95 %, Student's t over prompt means",
        "axes": {a: fields[n].name if n else None for a, n in zip(AXES, view.axes, strict=True)},
    }
    if wall is None:
        body["images"] = _images(view, entry, index)
    else:
        body["cells"] = [
            row | {"matched": [_matched(Shown(*s)) for s in cell["images_shown"]]}
            for row, cell in _cells(wall)
        ]
    return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False).encode()


def as_csv(wall: Wall | None, view: View, entry: Entry, index: Index) -> bytes:
    """Cells: x2, x, y2, y and their numbers. Images: what the table has of each."""
    rows = _images(view, entry, index) if wall is None else [row for row, _ in _cells(wall)]
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _harmless(v) for k, v in row.items()} for row in rows)
    return out.getvalue().encode()


def _cells(wall: Wall) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    out = []
    for (line, column), cell in sorted(wall.cells.items()):
        (x2, x), (y2, y) = wall.columns[column], wall.rows[line]
        keys = {"x": x, "y": y, "x2": x2, "y2": y2}
        values = {name: _plain(value.key) for name, value in keys.items() if value}
        out.append((values | {n: payload.finite(cell[n]) for n in NUMBERS}, cell))
    return out


def _plain(key: str) -> str | None:
    return None if key == known.NOTHING else key


def _matched(shown: Shown) -> dict[str, Any]:
    return {
        "slot": shown.slot,
        "image_key": shown.key,
        "prompt_id": shown.prompt_id,
        "seed": shown.seed,
        "score": payload.finite(shown.s),
        "of": shown.among,
    }


def _images(view: View, entry: Entry, index: Index) -> list[dict[str, Any]]:
    """All images of a view in its order. Raises ConfigError over 100,000."""
    asked = query.images(view, entry, index.table(entry.name), first=0, count=MOST_ROWS + 1)
    rows = index.query(asked.sql, asked.values)
    if len(rows) > MOST_ROWS:
        raise ConfigError(f"over {MOST_ROWS:,} images; filter, or take the study's Parquet file")
    names = {"s": view.score or "score"}
    return [
        {names.get(k, k): payload.finite(v) for k, v in row.items() if k not in ("image_id", "o")}
        for row in rows
    ]


def _harmless(value: Any) -> Any:
    """A text that a spreadsheet would run as a formula gets an apostrophe (OWASP)."""
    if isinstance(value, str) and value.startswith(FORMULA) and known.number_of(value) is None:
        return "'" + value
    return value
