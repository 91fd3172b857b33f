"""The images that are compared, found by their keys. One that is unknown keeps its place."""

# ruff: noqa: S608 - SQL holds the index's own table names and checked columns; values go by `?`

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from teststrip.studio.index import Entry, Index

MOST, LETTERS = 4, "ABCD"
LONGEST_KEY = 200
RECIPE, PARAM = "recipe.", "param."


@dataclass(frozen=True)
class Shot:
    """One image in its place. `row`: what the index has of it, None where it has none."""

    letter: str
    key: str
    study: str
    row: dict[str, Any] | None

    @property
    def found(self) -> bool:
        """There is a picture to show."""
        return self.row is not None and self.row["status"] == "ok"

    @property
    def fault(self) -> str:
        """Why there is no picture; empty where there is one."""
        if self.row is None:
            return "This study has no image of that key. It may have been removed since."
        if self.row["status"] != "ok":
            return f"This image was not made: {self.row.get('reason') or self.row['status']}"
        return ""

    @property
    def original(self) -> str:
        """Path of the original."""
        return f"/images/{quote(self.study, safe='')}/{quote(self.key, safe='')}.png"

    @cached_property
    def told(self) -> dict[str, Any]:
        """The row, empty where there is none."""
        return self.row or {}


def shots(index: Index, entry: Entry, keys: Sequence[str]) -> list[Shot]:
    """The images of these keys in their order: at most four, each once."""
    wanted = list(dict.fromkeys(key[:LONGEST_KEY] for key in keys if key))[:MOST]
    rows = by_key(index, entry, wanted)
    return [
        Shot(letter, key, entry.name, rows.get(key))
        for letter, key in zip(LETTERS, wanted, strict=False)
    ]


def by_key(index: Index, entry: Entry, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """image key -> its row, for those that the index has; NaN become None."""
    if not keys:
        return {}
    marks = ", ".join("?" for _ in keys)
    sql = f"SELECT * FROM {index.table(entry.name)} WHERE image_key IN ({marks}) ORDER BY image_id"
    found: dict[str, dict[str, Any]] = {}
    for row in index.query(sql, list(keys)):
        found.setdefault(str(row["image_key"]), {k: known(v) for k, v in row.items()})
    return found


def known(value: Any) -> Any:
    """The value, None for a number that is none."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def quoted(column: str) -> str:
    """A column's name for SQL. It was checked against the entry before."""
    return '"' + column.replace('"', '""') + '"'


def label_of(field: str) -> str:
    """`recipe.steps` -> `steps`."""
    return field.removeprefix(RECIPE).removeprefix(PARAM).replace("_", " ")
