"""Files of lines that only grow, and are cut back where a run goes on from an older checkpoint."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from teststrip.errors import StorageError
from teststrip.files import storage_error, write_atomic
from teststrip.study import lines

Row = dict[str, Any]


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add whole lines. What is not finite becomes null. Raises StorageError."""
    text = "".join(json.dumps(clean(row), ensure_ascii=False) + "\n" for row in rows)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.write(text.encode())
    except OSError as exc:
        raise storage_error(path, exc) from exc


def rows_of(path: Path) -> list[Row]:
    """All whole lines that are JSON objects with a step; a torn or damaged line is left out."""
    try:
        found = lines.read(path)
    except StorageError:
        return []
    return [row for row in found if isinstance(row.get("step"), int)]


def cut_back(path: Path, step: int) -> list[Row]:
    """Keep the lines up to `step`, and whole ones only; returns them. Raises StorageError."""
    kept = [row for row in rows_of(path) if row["step"] <= step]
    if path.exists():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)
        write_atomic(path, text.encode())
    return kept


def clean(row: Mapping[str, Any]) -> Row:
    """What is not finite becomes None."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
