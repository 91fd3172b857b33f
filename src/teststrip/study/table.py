"""The table of a study: one row per image, in Parquet."""

import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from teststrip.recipe import Recipe
from teststrip.study import adapters
from teststrip.study.cells import Cell
from teststrip.study.ledger import Ledger
from teststrip.study.space import Point

if TYPE_CHECKING:
    import pyarrow as pa

_WHOLE = ("steps", "width", "height", "clip_skip")
_REAL = ("eta", "guidance", "rescale")


@dataclass(frozen=True)
class Origin:
    """Where a recipe came from: the first trial that had it (-1: the baseline) and its dummies."""

    trial: int
    point: Point


def build_table(
    study: str,
    *,
    cells: Iterable[Cell],
    origins: Mapping[str, Origin],
    ledger: Ledger,
    columns: Iterable[str],
    needed: Iterable[str],
    dummies: Mapping[str, bool],
    rung_of: Mapping[int, int],
    files: Mapping[str, str] | None = None,
) -> "pa.Table":
    """One row per image that was made or failed.

    `status` is `failed` where there is no picture or a `needed` score (an objective) is missing;
    the scores that are missing are null and `reason` says why, whatever the status. `dummies`:
    name -> are its values numbers? `files`: swept adapters by name (see `adapters`), None without.
    """
    import pyarrow as pa

    columns, needed = list(columns), set(needed)
    rows = []
    for cell in cells:
        entry = ledger.entry(cell.key)
        if entry.made is None and not entry.reason and not ledger.is_made(cell.key):
            continue
        made = entry.made or {}
        scores = entry.scores or {}
        here = ledger.is_made(cell.key)
        good = here and all(scores.get(column) is not None for column in needed)
        recipe, block = cell.request.recipe, cell.block
        origin = origins[cell.recipe_id]
        row: dict[str, Any] = {
            "study": study,
            "trial": origin.trial,
            "rung": rung_of.get(block.index, 0) if block.split == "search" else None,
            "recipe_id": cell.recipe_id,
            **_recipe_columns(recipe, files),
            **{f"param.{n}": _dummy(origin.point.get(n), real) for n, real in dummies.items()},
            "image_key": cell.key,
            "prompt_id": block.block.prompt_id,
            "prompt": block.block.prompt,
            "tags": ";".join(block.tags),
            "split": block.split,
            "block": block.index,
            "seed": block.block.seed,
            "status": "ok" if good else "failed",
            "reason": entry.reason,
            "seconds": made.get("seconds"),
            "model_calls": made.get("model_calls"),
            "png": ledger.path_of(cell.key) if here else None,
            "started": _time(made.get("started")),
            "finished": _time(made.get("finished")),
            **{column: scores.get(column) for column in columns},
        }
        rows.append(row)
    kinds = schema(columns, dummies, swept=files is not None)
    return pa.Table.from_pylist(rows, schema=kinds)


def _dummy(value: Any, real: bool) -> float | str | None:
    if value is None:
        return None
    return float(value) if real else str(value)


def to_bytes(table: "pa.Table") -> bytes:
    """The table as a Parquet file."""
    import pyarrow.parquet as pq

    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()


def _recipe_columns(recipe: Recipe, files: Mapping[str, str] | None) -> dict[str, Any]:
    fields = recipe.model_dump(mode="json")
    fields["loras"] = json.dumps(fields["loras"])
    if files is not None:
        fields |= adapters.columns_of(recipe, files)
    return {f"recipe.{name}": value for name, value in fields.items()}


def schema(
    columns: Iterable[str], dummies: Mapping[str, bool], *, swept: bool = False
) -> "pa.Schema":
    """Names and kinds of a study's columns. `dummies`: name -> is it a number?

    `swept`: with the adapter's file and scale, each in a column of its own.
    """
    import pyarrow as pa

    def kind(field: str) -> Any:
        if field in _WHOLE:
            return pa.int64()
        if field in _REAL:
            return pa.float64()
        return pa.bool_() if field == "zero_snr" else pa.string()

    when = pa.timestamp("ms", tz="UTC")
    return pa.schema(
        [
            ("study", pa.string()),
            ("trial", pa.int64()),
            ("rung", pa.int64()),
            ("recipe_id", pa.string()),
            *((f"recipe.{name}", kind(name)) for name in Recipe.model_fields),
            *(
                (
                    (f"recipe.{adapters.FILE}", pa.string()),
                    (f"recipe.{adapters.SCALE}", pa.float64()),
                )
                * swept
            ),
            *((f"param.{n}", pa.float64() if real else pa.string()) for n, real in dummies.items()),
            ("image_key", pa.string()),
            ("prompt_id", pa.string()),
            ("prompt", pa.string()),
            ("tags", pa.string()),
            ("split", pa.string()),
            ("block", pa.int64()),
            ("seed", pa.int64()),
            ("status", pa.string()),
            ("reason", pa.string()),
            ("seconds", pa.float64()),
            ("model_calls", pa.int64()),
            ("png", pa.string()),
            ("started", when),
            ("finished", when),
            *((column, pa.float64()) for column in columns),
        ]
    )


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
