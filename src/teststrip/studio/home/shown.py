"""What the cards and a study's page show of the index."""

from dataclasses import dataclass
from typing import Any

from teststrip.studio.index import Entry, Index

STATES = {
    "running": "running",
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "imported": "imported",
}


@dataclass(frozen=True)
class Card:
    """A study and a few of its images: `keys` of the best by the objective, each block once."""

    entry: Entry
    keys: tuple[str, ...]


def cards(index: Index, text: str, count: int) -> tuple[list[Card], int]:
    """(the first `count` studies whose name holds `text`, how many there are)."""
    found = [e for e in index.entries() if text.lower() in e.name.lower()]
    return [Card(entry, tuple(best(index, entry, 5))) for entry in found[:count]], len(found)


def best(index: Index, entry: Entry, count: int) -> list[str]:
    """Image keys of the best images, at most one of each prompt; the first ones without a score."""
    if not entry.images:
        return []
    known = {score.column: score for score in entry.scores}
    score = known.get(entry.objective or "")
    order = "image_id"
    if score is not None:
        column = '"' + score.column.replace('"', '""') + '"'
        order = f"{column} {'DESC' if score.higher_is_better else 'ASC'} NULLS LAST, image_id"
    rows = index.query(  # names come from the index itself
        f"SELECT image_key FROM {index.table(entry.name)} WHERE status = 'ok' AND png <> '' "  # noqa: S608
        f"QUALIFY row_number() OVER (PARTITION BY prompt_id ORDER BY {order}) = 1 "
        f"ORDER BY {order} LIMIT ?",
        [count],
    )
    return [str(row["image_key"]) for row in rows]


def span(values: tuple[Any, ...], more: bool) -> str:
    """`4, 6, 8`, or `1 to 12 (40 values)` of many numbers."""
    if len(values) <= 8 and not more:
        return ", ".join(_text(v) for v in values)
    number = f"{len(values)}{' or more' if more else ''} values"
    if all(isinstance(v, int | float) for v in values):
        return f"{_text(values[0])} to {_text(values[-1])} ({number})"
    return f"{', '.join(_text(v) for v in values[:6])}, ... ({number})"


def _text(value: Any) -> str:
    if value is None or value == "":
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
