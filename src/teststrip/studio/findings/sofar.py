"""A study without a result: what its images say so far, and no verdict."""

# ruff: noqa: S608 - SQL holds the index's own table name; values go through `?`

from dataclasses import dataclass
from typing import TYPE_CHECKING

from teststrip.evidence.interval import Interval, intervals

if TYPE_CHECKING:
    from teststrip.studio.index import Entry, Index

MOST = 8


@dataclass(frozen=True)
class Ahead:
    """A recipe's mean lead over the average recipe on its blocks, interval by prompt."""

    recipe_id: str
    settings: tuple[tuple[str, str], ...]
    lead: Interval
    images: int


def ahead(index: "Index", entry: "Entry") -> tuple[Ahead, ...]:
    """The recipes ahead so far; empty where recipes share no blocks or nothing has a score."""
    import numpy as np

    if not entry.paired or not entry.images:
        return ()
    table = index.table(entry.name)
    rows = index.query(
        f"SELECT recipe_id, prompt_id, avg(lead) AS lead, count(*) AS n FROM {table} "
        "WHERE split = ? AND lead IS NOT NULL AND isfinite(lead) GROUP BY ALL ORDER BY ALL",
        ["search"],
    )
    units: dict[str, list[float]] = {}
    images: dict[str, int] = {}
    for row in rows:
        units.setdefault(row["recipe_id"], []).append(float(row["lead"]))
        images[row["recipe_id"]] = images.get(row["recipe_id"], 0) + int(row["n"])
    if len(units) < 2:
        return ()
    first = sorted(units, key=lambda name: (-len(units[name]), -float(np.mean(units[name]))))[:MOST]
    words = _settings(index, entry, first)
    found = []
    for name in first:
        lead = intervals(np.array([units[name]]))[0]
        found.append(Ahead(name, words.get(name, ()), lead, images[name]))
    return tuple(sorted(found, key=lambda one: -one.lead.mean))


def _settings(
    index: "Index", entry: "Entry", ids: list[str]
) -> dict[str, tuple[tuple[str, str], ...]]:
    from teststrip.evidence.numbers import show

    shown = [s for s in entry.settings if not s.label.startswith("dummy_")][:6]
    if not shown:
        return {}
    columns = ", ".join(
        f'any_value("{s.field.replace(chr(34), chr(34) * 2)}") AS s{k}' for k, s in enumerate(shown)
    )
    marks = ", ".join("?" for _ in ids)
    rows = index.query(
        f"SELECT recipe_id, {columns} FROM {index.table(entry.name)} "
        f"WHERE recipe_id IN ({marks}) GROUP BY recipe_id",
        ids,
    )
    return {
        row["recipe_id"]: tuple((s.label, show(row[f"s{k}"])) for k, s in enumerate(shown))
        for row in rows
    }
