"""What a wall can be laid out, filtered and sorted by: names of the address -> columns of SQL."""

import math
from dataclasses import dataclass
from typing import Any, Literal

from teststrip.studio.index import Entry

NOTHING = "\0"  # the text of a value that is not there
ALIASES = {"prompt": "prompt_id", "tags": "tag"}
OF_BLOCKS = ("prompt_id", "seed", "tag", "split", "status")  # axes that are no settings


@dataclass(frozen=True)
class Field:
    """`name`: in addresses. `column`: of the table. `kind`: number, text or tags."""

    name: str
    column: str
    kind: Literal["number", "text", "tags"]
    label: str

    @property
    def sql(self) -> str:
        """The column, quoted."""
        return quoted(self.column)


def quoted(column: str) -> str:
    """A column's name in SQL."""
    return '"' + column.replace('"', '""') + '"'


def fields(entry: Entry) -> dict[str, Field]:
    """All fields of a study by name: settings, scores, and what each image has."""
    found = [
        Field("prompt_id", "prompt_id", "text", "prompt"),
        Field("seed", "seed", "number", "seed"),
        Field("tag", "tags", "tags", "prompt tag"),
        Field("split", "split", "text", "split"),
        Field("status", "status", "text", "status"),
        Field("recipe_id", "recipe_id", "text", "recipe"),
        Field("block", "block", "number", "block"),
        Field("image_key", "image_key", "text", "image"),
        Field("seconds", "seconds", "number", "seconds"),
        Field("model_calls", "model_calls", "number", "model calls"),
        Field("lead", "lead", "number", "lead"),
        Field("disagreement", "disagreement", "number", "disagreement of scorers"),
    ]
    found += [Field(s.column, s.column, "number", s.column) for s in entry.scores]
    found += [
        Field(s.field, s.field, "number" if s.numeric else "text", s.label) for s in entry.settings
    ]
    return {field.name: field for field in found}


def axis_names(entry: Entry) -> list[str]:
    """What can be on an axis: settings first."""
    return [*(s.field for s in entry.settings), *OF_BLOCKS, "recipe_id"]


def set_names(entry: Entry) -> list[str]:
    """What can be filtered by a set of values."""
    return [*axis_names(entry), "block", "image_key"]


def range_names(entry: Entry) -> list[str]:
    """What can be filtered by a range."""
    return [f.name for f in fields(entry).values() if f.kind == "number"]


def score_names(entry: Entry) -> list[str]:
    """What a cell can be judged by: the scores and, where recipes share blocks, the lead."""
    return [*(s.column for s in entry.scores), *(["lead"] if entry.paired else []), "seconds"]


def sort_names(entry: Entry) -> list[str]:
    """What cells and images can be sorted by; `order`: as the axes run, as images were made."""
    return ["order", *score_names(entry), "lower", "disagreement"]


def higher_is_better(name: str, entry: Entry) -> bool:
    """Which end of a score, or of what one sorts by, comes first."""
    if name == "seconds":
        return False
    return next((s.higher_is_better for s in entry.scores if s.column == name), True)


def text_of(value: Any) -> str:
    """A value in an address; `number_of` and `==` bring it back exactly."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value)


def number_of(text: str) -> float | int | None:
    """A finite number, or None."""
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def label_of(value: Any) -> str:
    """A value for people: four digits at most, `none` for what is not there."""
    if isinstance(value, float) and not math.isnan(value):
        return f"{value:.4g}" if abs(value) < 1e6 else text_of(value)
    text = text_of(value)
    return {NOTHING: "none", "": "(empty)"}.get(text, text)
