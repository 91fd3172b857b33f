"""What the page's scripts and the JSON export get: walls and pages of images as plain data."""

import math
from dataclasses import asdict
from typing import Any

from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import fields as known
from teststrip.studio.wall import query
from teststrip.studio.wall.axes import Value
from teststrip.studio.wall.build import Shown, Wall
from teststrip.studio.wall.heat import heat_of
from teststrip.studio.wall.view import AXES, View, part

LONGEST_PROMPT, MOST_IN_PAGE = 300, 500
PROMPT = Shown._fields.index("prompt_id")


def head(view: View, entry: Entry, index: Index) -> dict[str, Any]:
    """What any wall says first: its address, its study, how many images are left."""
    asked = query.counts(view, entry, index.table(entry.name))
    fields = known.fields(entry)
    names = [axis for axis in view.axes if axis]
    return {
        "address": view.address(),
        "study": entry.name,
        "state": entry.state,
        "version": entry.version,
        "paired": entry.paired,
        "counts": index.query(asked.sql, asked.values)[0] | {"all": entry.images},
        "score": view.score,
        "higher_is_better": known.higher_is_better(view.score or "", entry),
        "axes": {a: fields[n].label if n else None for a, n in zip(AXES, view.axes, strict=True)},
        "averaged": [
            s.label for s in entry.settings if s.field not in names and not _pinned(s.field, view)
        ],
        "by_block": any(name in known.OF_BLOCKS for name in names),
        "sort": view.sort.removeprefix("-"),
        "chips": chips(view, entry),
    }


def _pinned(name: str, view: View) -> bool:
    return any(field == name and len(values) == 1 for field, values in view.sets)


def wall(made: Wall, view: View, entry: Entry, index: Index) -> dict[str, Any]:
    """Cells: row, column, total, failed, images, prompts, mean, low, high, seconds, their images.

    An image: slot, key, score, how many it stands for, prompt_id, seed. `heat`: what the tint
    runs over.
    """
    prompts = {row[PROMPT] for cell in made.cells.values() for row in cell["images_shown"]}
    heat = heat_of(cell["mean"] for cell in made.cells.values())
    return head(view, entry, index) | {
        "heat": asdict(heat) if heat else None,
        "columns": [_line(pair) for pair in made.columns],
        "rows": [_line(pair) for pair in made.rows],
        "cells": [
            [
                *at,
                cell["total"],
                cell["failed"],
                cell["images"],
                cell["prompts"],
                cell["mean"],
                cell["low"],
                cell["high"],
                cell["seconds"],
                cell["images_shown"],
            ]
            for at, cell in sorted(made.cells.items())
        ],
        "prompts": prompt_texts(prompts, entry, index),
        "hidden": [
            {"name": f"hide.{name}", "value": part(value.key), "label": value.label}
            for name, value in made.hidden
        ],
    }


def _line(pair: tuple[Value | None, Value | None]) -> dict[str, Any]:
    outer, inner = pair
    return {
        "outer": outer.label if outer else None,
        "inner": inner.label if inner else None,
        "filter": [list(f) for value in pair if value for f in value.filter],
        "hide": [[f"hide.{_field(v)}", part(v.key), v.label] for v in pair if v],
    }


def _field(value: Value) -> str:
    name = value.filter[0][0].removeprefix("f.")
    return name.removesuffix(".min") if len(value.filter) == 2 else name


def prompt_texts(ids: set[str], entry: Entry, index: Index) -> dict[str, str]:
    """Prompt id -> its text, cut."""
    if not ids:
        return {}
    marks = ", ".join("?" * len(ids))
    sql = (
        "SELECT coalesce(prompt_id, '') AS id, any_value(prompt) AS p FROM "  # noqa: S608
        f"{index.table(entry.name)} WHERE coalesce(prompt_id, '') IN ({marks}) GROUP BY id"
    )
    rows = index.query(sql, sorted(ids))
    return {row["id"]: (row["p"] or "")[:LONGEST_PROMPT] for row in rows}


def images(view: View, entry: Entry, index: Index, *, first: int, count: int) -> dict[str, Any]:
    """A page of images in the view's order, `first` and `count` numbers of images."""
    asked = query.images(view, entry, index.table(entry.name), first=first, count=count)
    rows = index.query(asked.sql, asked.values)
    return {
        "first": first,
        "images": [
            {
                "id": row["image_id"],
                "key": row["image_key"],
                "s": finite(row["s"]),
                "o": finite(row["o"]),
                "seed": row["seed"],
                "prompt": (row["prompt"] or "")[:LONGEST_PROMPT],
                "recipe": row["recipe_id"],
                "seconds": finite(row["seconds"]),
                "failed": None if row["status"] == "ok" else row["reason"] or row["status"],
            }
            for row in rows
        ],
    }


def chips(view: View, entry: Entry) -> list[dict[str, Any]]:
    """Each filter in words, with the names in the address that make it."""
    fields = known.fields(entry)
    out: list[dict[str, Any]] = []
    for name, values in view.sets:
        words = ", ".join(known.label_of(v) for v in values[:4])
        more = f" and {len(values) - 4} more" if len(values) > 4 else ""
        out.append({"label": f"{fields[name].label}: {words}{more}", "names": [f"f.{name}"]})
    for span in view.ranges:
        ends = f"f.{span.field}.min", f"f.{span.field}.max"
        out.append(
            {"label": f"{fields[span.field].label} {_span(span.low, span.high)}", "names": ends}
        )
    if view.q:
        out.append({"label": f"prompt has “{view.q}”", "names": ["q"]})
    if view.status != "all":
        out.append({"label": f"only {view.status}", "names": ["status"]})
    return out


def _span(low: float | None, high: float | None) -> str:
    if low is None:
        return f"≤ {known.label_of(high)}"
    if high is None:
        return f"≥ {known.label_of(low)}"
    return f"{known.label_of(low)} to {known.label_of(high)}"


def as_json(body: dict[str, Any]) -> bytes:
    """In a third of the time that `json` takes; what is not finite becomes null."""
    from pydantic_core import to_json

    return to_json(body, inf_nan_mode="null")


def finite(value: Any) -> Any:
    """None instead of what JSON cannot say."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
