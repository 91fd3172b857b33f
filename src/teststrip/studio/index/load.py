"""A study's Parquet file as a DuckDB table: known columns with known types, whatever the file has.

Every table has all columns of `STANDARD`, `image_id`, `tags`, `lead` and `disagreement`; settings
and scores come under their own names. What is no number, text, flag or time is left out.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)
WHOLE, REAL, FLAG, TEXT, WHEN = "BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "TIMESTAMP"
STANDARD: dict[str, str] = {
    "trial": WHOLE,
    "rung": WHOLE,
    "recipe_id": TEXT,
    "prompt_id": TEXT,
    "prompt": TEXT,
    "seed": WHOLE,
    "block": WHOLE,
    "split": TEXT,
    "status": TEXT,
    "reason": TEXT,
    "seconds": REAL,
    "model_calls": WHOLE,
    "image_key": TEXT,
    "png": TEXT,
    "width": WHOLE,
    "height": WHOLE,
    "started": WHEN,
    "finished": WHEN,
}
COMPUTED = ("image_id", "lead", "disagreement")
NEUTRAL = {"split": "'search'", "status": "'ok'", "reason": "''", "png": "''"}
SETTINGS = ("recipe.", "param.")
MOST_COLUMNS, MOST_ROWS = 1000, 5_000_000


def quoted(name: str) -> str:
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def read(path: Path) -> "pa.Table":
    """The file's columns that can be used. Raises StorageError where it is none or is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as handle, pq.ParquetFile(handle, memory_map=False) as file:
            rows, columns = file.metadata.num_rows, file.metadata.num_columns
            if rows > MOST_ROWS or columns > MOST_COLUMNS:
                raise StorageError(
                    f"{path}: {rows} rows of {columns} columns; at most {MOST_ROWS} of "
                    f"{MOST_COLUMNS} are shown"
                )
            names = [f.name for f in file.schema_arrow if kind_of(f.type) or f.name == "tags"]
            twice = _twice(names)
            table = file.read([n for n in names if n not in twice and n not in COMPUTED])
    except (OSError, pa.ArrowException, ValueError) as exc:
        if isinstance(exc, StorageError):
            raise
        raise StorageError(f"{path}: is no table of images: {exc}") from exc
    for place, part in enumerate(table.schema):
        if pa.types.is_timestamp(part.type):  # UTC without saying so: no time zones are needed
            plain = table.column(place).cast(pa.timestamp("ms"), safe=False)
            table = table.set_column(place, part.name, plain)
        elif pa.types.is_dictionary(part.type):
            plain = table.column(place).cast(part.type.value_type)
            table = table.set_column(place, part.name, plain)
    ids = pa.array(range(len(table)), pa.int64())
    return table.append_column("image_id", ids)


def empty() -> "pa.Table":
    """No images yet."""
    import pyarrow as pa

    return pa.table({"image_id": pa.array([], pa.int64())})


def kinds_of(table: "pa.Table") -> dict[str, str]:
    """Settings and scores: name -> SQL type."""
    known = {*STANDARD, "tags", "study", *COMPUTED}
    found = {part.name: kind_of(part.type) for part in table.schema if part.name not in known}
    return {name: kind for name, kind in found.items() if kind is not None}


def selected(table: "pa.Table") -> list[str]:
    """SQL terms that turn the read table's columns into the index's, each with its name."""
    there = set(table.column_names)
    fields = [n for n in table.column_names if n.startswith("recipe.")]
    terms = ["image_id"]
    for name, kind in STANDARD.items():
        terms.append(f"{_standard(name, kind, there, fields)} AS {quoted(name)}")
    terms.append(f"{_tags(table)} AS tags")
    for name, kind in kinds_of(table).items():
        terms.append(f"{_cast(quoted(name), kind)} AS {quoted(name)}")
    return terms


def kind_of(type_: Any) -> str | None:
    """The SQL type for a column of the file; None where it is nothing to show."""
    import pyarrow as pa

    if pa.types.is_dictionary(type_):
        type_ = type_.value_type
    tests = (
        (pa.types.is_integer, WHOLE),
        (pa.types.is_floating, REAL),
        (pa.types.is_decimal, REAL),
        (pa.types.is_boolean, FLAG),
        (pa.types.is_string, TEXT),
        (pa.types.is_large_string, TEXT),
        (pa.types.is_null, TEXT),
        (pa.types.is_timestamp, WHEN),
    )
    return next((kind for test, kind in tests if test(type_)), None)


def _twice(names: list[str]) -> set[str]:
    """Names that SQL takes for another one before them (it does not tell a from A), and empty."""
    seen: set[str] = set()
    out = set()
    for name in names:
        if not name or name.lower() in seen or "\0" in name:
            out.add(name)
        seen.add(name.lower())
    if out:
        log.warning("columns left out, their names are taken: %s", ", ".join(sorted(out)))
    return out


def _cast(term: str, kind: str) -> str:
    if kind == REAL:
        return f"CASE WHEN isfinite(TRY_CAST({term} AS DOUBLE)) THEN CAST({term} AS DOUBLE) END"
    return f"TRY_CAST({term} AS {kind})"


def _standard(name: str, kind: str, there: set[str], fields: list[str]) -> str:
    if name in there:
        term = _cast(quoted(name), kind)
        return f"coalesce({term}, {NEUTRAL[name]})" if name in NEUTRAL else term
    if name in NEUTRAL:
        return NEUTRAL[name]
    if name == "recipe_id" and fields:  # equal settings, equal id
        texts = [f"coalesce(CAST({quoted(f)} AS VARCHAR), '')" for f in fields]
        return f"substr(md5(concat_ws(chr(31), {', '.join(texts)})), 1, 12)"
    if name == "prompt_id" and "prompt" in there:
        return "substr(md5(CAST(prompt AS VARCHAR)), 1, 8)"
    if name == "prompt" and "prompt_id" in there:
        return "CAST(prompt_id AS VARCHAR)"
    return "''" if name in ("recipe_id", "prompt_id", "prompt") else f"CAST(NULL AS {kind})"


def _tags(table: "pa.Table") -> str:
    import pyarrow as pa

    none = "CAST([] AS VARCHAR[])"
    if "tags" not in table.column_names:
        return none
    kind = table.schema.field("tags").type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"coalesce(TRY_CAST(tags AS VARCHAR[]), {none})"
    parts = "string_split(coalesce(CAST(tags AS VARCHAR), ''), ';')"
    return f"list_filter(list_transform({parts}, lambda t: trim(t)), lambda t: t <> '')"
