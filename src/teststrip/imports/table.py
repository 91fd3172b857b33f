"""images.parquet of an import, in the columns of a study."""

import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from teststrip.imports.store import Kept
from teststrip.recipe import Recipe, short_hash
from teststrip.study.table import schema

MOST_COLUMNS = 40


def is_paired(kept: Iterable[Kept]) -> bool:
    """Do the same prompts and seeds recur over all recipes, each once?"""
    blocks: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for one in kept:
        if one.found.seed is None or not one.found.prompt:
            return False
        blocks[one.found.recipe_id].append((one.found.prompt, one.found.seed))
    every = [sorted(found) for found in blocks.values()]
    return (
        len(every) > 1
        and all(found == every[0] for found in every)
        and len(set(every[0])) == len(every[0])
    )


def params_of(kept: Iterable[Kept]) -> tuple[list[str], list[str]]:
    """(settings that become columns, settings left out): the most frequent ones first."""
    counts = Counter(name for one in kept for name in one.found.params)
    ranked = [name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    return ranked[:MOST_COLUMNS], ranked[MOST_COLUMNS:]


def to_parquet(study: str, kept: Sequence[Kept], columns: Sequence[str]) -> bytes:
    """The table as a Parquet file: a row for each picture, in the order they were first seen."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    params, _ = params_of(kept)
    numbers = {name: _are_numbers(one.found.params.get(name) for one in kept) for name in params}
    blocks: dict[Any, int] = {}
    rows = []
    for one in kept:
        found = one.found
        alike = found.prompt and found.seed is not None
        block: Any = (found.prompt, found.seed) if alike else one.key
        rows.append(
            {
                "study": study,
                "trial": 0,
                "rung": None,
                "recipe_id": found.recipe_id,
                **{f"recipe.{name}": _field(found.fields, name) for name in Recipe.model_fields},
                **{f"param.{n}": _param(found.params.get(n), numbers[n]) for n in params},
                "image_key": one.key,
                "prompt_id": short_hash(found.prompt, 8) if found.prompt else "no-prompt",
                "prompt": found.prompt,
                "tags": found.tool,
                "split": "search",
                "block": blocks.setdefault(block, len(blocks)),
                "seed": found.seed,
                "status": "ok",
                "reason": one.reason,
                "seconds": None,
                "model_calls": None,
                "png": one.png,
                "source": one.file,
                "started": None,
                "finished": None,
                **{column: one.scores.get(column) for column in columns},
            }
        )
    out = io.BytesIO()
    pq.write_table(
        pa.Table.from_pylist(rows, schema=_schema(numbers, columns)), out, compression="zstd"
    )
    return out.getvalue()


def _field(fields: Mapping[str, Any], name: str) -> Any:
    value = fields.get(name)
    return json.dumps(value) if name == "loras" and value is not None else value


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(
        v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values
    )


def _param(value: Any, number: bool) -> float | str | None:
    if value is None:
        return None
    return float(value) if number else f"{value:g}" if isinstance(value, float) else str(value)


def _schema(params: Mapping[str, bool], columns: Sequence[str]) -> Any:
    """A study's, and where a picture came from."""
    import pyarrow as pa

    made = schema(columns, params)
    return made.insert(made.get_field_index("started"), pa.field("source", pa.string()))
