"""An axis: a field's values in order, each with a label and the filter that gives its images.

A setting with many numbers (a continuous one) is cut into ranges of about as many values each,
over the whole study, so that a filter never moves them.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from teststrip.studio.index import Entry, Index
from teststrip.studio.wall import fields as known
from teststrip.studio.wall.view import part

MOST_STEPS, BINS = 16, 8  # numbers that stay themselves; ranges of more


@dataclass(frozen=True)
class Value:
    """`key`: its text. `filter`: (name, value) pairs of an address."""

    key: str
    label: str
    filter: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Axis:
    """`sql` of what images are grouped by; `tops`: upper ends of its ranges, as its values."""

    field: known.Field
    sql: str
    spans: tuple[tuple[float, float], ...] = ()

    @property
    def tops(self) -> list[float]:
        """Values of `sql`."""
        return [high for _, high in self.spans[:-1]]

    def value(self, raw: Any, prompts: dict[str, str]) -> Value:
        """One value of `sql` for people. `prompts`: text by id."""
        name = self.field.name
        if self.spans and raw is not None:
            low, high = self.spans[int(raw)]
            ends = (f"f.{name}.min", known.text_of(low)), (f"f.{name}.max", known.text_of(high))
            key = f"{known.text_of(low)}..{known.text_of(high)}"
            same = low == high
            return Value(
                key, known.label_of(low) + ("" if same else f" to {known.label_of(high)}"), ends
            )
        key = known.text_of(raw)
        label = prompts.get(key, key) if name == "prompt_id" else known.label_of(raw)
        return Value(key, label, ((f"f.{name}", part(key)),))


def axis_of(name: str, entry: Entry, index: Index) -> Axis:
    """The axis of a field; a setting with more than 16 numbers in 8 ranges."""
    field = known.fields(entry)[name]
    setting = next((s for s in entry.settings if s.field == name), None)
    if field.kind == "tags":
        some = f"CASE WHEN len({field.sql}) > 0 THEN {field.sql} ELSE [NULL] END"
        return Axis(field, f"unnest({some})")
    if setting is None or not setting.numeric:
        return Axis(field, field.sql if field.kind == "number" else f"CAST({field.sql} AS VARCHAR)")
    numbers = [v for v in setting.values if v is not None]
    if setting.more:
        sql = f"SELECT DISTINCT {field.sql} AS v FROM {index.table(entry.name)} ORDER BY v"  # noqa: S608
        numbers = [row["v"] for row in index.query(sql) if row["v"] is not None]
    if len(numbers) <= MOST_STEPS:
        return Axis(field, field.sql)
    cuts = [round(i * len(numbers) / BINS) for i in range(BINS + 1)]
    spans = tuple((numbers[first], numbers[last - 1]) for first, last in pairwise(cuts))
    whens = " ".join(f"WHEN {field.sql} <= ? THEN {i}" for i in range(BINS - 1))
    return Axis(
        field, f"CASE WHEN {field.sql} IS NULL THEN NULL {whens} ELSE {BINS - 1} END", spans
    )


def in_order(raws: set[Any]) -> list[Any]:
    """Numbers by size, texts by letter, what is not there last."""
    return sorted(raws, key=lambda v: (v is None, isinstance(v, str), v if v is not None else 0))
