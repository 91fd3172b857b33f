"""Stars and rejects on single images: `marks.jsonl` in a study's folder, appended to.

A line is one mark: `id`, `image_key`, `mark` (`star`, `reject`, or empty: taken off), `rater`,
`at`. The last line of a rater about an image holds. `stored_marks` is for whoever filters by them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teststrip.study import lines

MARKS = "marks.jsonl"
KINDS = ("star", "reject", "")
FIELDS = ("id", "image_key", "mark", "rater")


def stored_marks(folder: Path) -> dict[str, dict[str, str]]:
    """image_key -> {rater: `star` or `reject`}; only marks that hold. Raises StorageError."""
    found: dict[str, dict[str, str]] = {}
    for row in lines.read(folder / MARKS):
        if all(name in row for name in FIELDS) and row["mark"] in KINDS:
            raters = found.setdefault(str(row["image_key"]), {})
            raters.pop(row["rater"], None)
            if row["mark"]:
                raters[str(row["rater"])] = str(row["mark"])
    return {key: raters for key, raters in found.items() if raters}


def append_mark(folder: Path, mark: Mapping[str, Any]) -> bool:
    """Write a mark with `FIELDS` and `at`; False if its id is there. Raises StorageError."""

    def new_of(there: list[dict[str, Any]]) -> list[Mapping[str, Any]]:
        return [] if any(row.get("id") == mark["id"] for row in there) else [mark]

    return bool(lines.append(folder / MARKS, new_of))
