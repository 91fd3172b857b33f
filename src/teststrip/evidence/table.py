"""The table of images, one row each, as `study` writes it to `images.parquet`: read and checked.

Needed columns: `prompt_id`, `seed`, the objective's score, and `recipe_id` or at least one
`recipe.<field>` (the id is then made from these). All others may be missing and get a neutral
value, so that a table made by other means is welcome too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.errors import ConfigError
from teststrip.recipe import short_hash

if TYPE_CHECKING:
    import pandas as pd

RECIPE = "recipe."
PARAM = "param."
NEUTRAL: dict[str, Any] = {
    "split": "search",
    "status": "ok",
    "reason": "",
    "tags": "",
    "png": "",
    "image_key": "",
    "seconds": float("nan"),
    "model_calls": float("nan"),
}
NOT_SCORES = {"study", "trial", "rung", "recipe_id", "prompt_id", "prompt", "block", "seed"}
MAX_ROWS = 5_000_000


def load(path: Path, objective: str | None = None) -> "pd.DataFrame":
    """Read a `.parquet` or `.csv` table and check it (see `checked`).

    Raises ConfigError if the file cannot be read or lacks columns.
    """
    from teststrip.evidence.table_file import read_frame

    frame = read_frame(path)
    return checked(frame, what=str(path), objective=objective)


def checked(
    frame: "pd.DataFrame", what: str = "table of images", objective: str | None = None
) -> "pd.DataFrame":
    """A copy with every column this room uses. Raises ConfigError that lists every fault."""
    faults = [f"column {name!r}: missing" for name in ("prompt_id", "seed") if name not in frame]
    fields = [name for name in frame if str(name).startswith(RECIPE)]
    if "recipe_id" not in frame and not fields:
        faults.append("column 'recipe_id', or one 'recipe.<field>' for each setting: missing")
    if objective is not None and objective not in frame:
        faults.append(f"score {objective!r}: missing; numbers found: {score_columns(frame)}")
    elif objective is not None and not _is_number(frame[objective]):
        faults.append(f"score {objective!r}: holds {frame[objective].dtype}, numbers are accepted")
    elif objective is None and not score_columns(frame):
        faults.append("no score: at least one column of numbers, such as 'clip_small@1'")
    faults += _seed_faults(frame)
    if len(frame) == 0 or len(frame) > MAX_ROWS:
        faults.append(f"{len(frame)} rows: 1 to {MAX_ROWS} are accepted")
    if faults:
        raise ConfigError(f"{what}: cannot be used", faults)
    out = frame.copy()
    for name, value in NEUTRAL.items():
        out[name] = out[name].fillna(value) if name in out else value
    if "recipe_id" not in out:
        out["recipe_id"] = _ids(out[fields])
    out["seed"] = out["seed"].astype(float).astype("int64")  # also from text: "7", "7.0"
    out["recipe_id"] = out["recipe_id"].astype(str)
    out["prompt_id"] = out["prompt_id"].astype(str)
    out["prompt"] = out["prompt"].fillna(out["prompt_id"]) if "prompt" in out else out["prompt_id"]
    twice = out.duplicated(["recipe_id", "prompt_id", "seed", "split"])
    if twice.any():
        first = out.loc[twice, ["recipe_id", "prompt_id", "seed"]].iloc[0].to_dict()
        raise ConfigError(
            f"{what}: {int(twice.sum())} images are there twice (same recipe, prompt and seed), "
            f"the first is {first}; keep one row for each"
        )
    if "block" not in out:
        # each prompt once, then each again with its next seed: the order a study would use
        out["block"] = out.groupby(["split", "recipe_id", "prompt_id"]).cumcount()
    return out.reset_index(drop=True)


def _seed_faults(frame: "pd.DataFrame") -> list[str]:
    import pandas as pd

    if "seed" not in frame:
        return []
    seeds = pd.to_numeric(frame["seed"], errors="coerce").astype(float)
    wrong = ~((seeds >= 0) & (seeds < 2**53) & (seeds == seeds.round()))
    if not wrong.any():
        return []
    first = frame.loc[wrong, "seed"].iloc[0]
    return [
        f"column 'seed': {int(wrong.sum())} rows hold no whole number from 0 on, first {first!r}"
    ]


def _ids(settings: "pd.DataFrame") -> list[str]:
    """A recipe id for each row: equal settings, equal id. Each combination is hashed once."""
    names = [str(name) for name in settings]
    known: dict[Any, str] = {}
    out = []
    for row in settings.itertuples(index=False, name=None):
        key = repr(row)
        if key not in known:
            cells = {name: plain(value) for name, value in zip(names, row, strict=True)}
            known[key] = short_hash(cells)
        out.append(known[key])
    return out


def score_columns(frame: "pd.DataFrame") -> list[str]:
    """Columns that hold scores: numbers that are neither a setting nor book-keeping."""
    known = NOT_SCORES | set(NEUTRAL)
    return [
        str(name)
        for name in frame
        if str(name) not in known
        and not str(name).startswith((RECIPE, PARAM))
        and _is_number(frame[name])
    ]


def settings_of(frame: "pd.DataFrame", fields: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`recipe_id` -> {field: plain value} for the given fields (`recipe.` may be left out)."""
    names = [column_of(frame, field) for field in fields]
    firsts = frame.drop_duplicates("recipe_id")
    return {
        str(row["recipe_id"]): {
            field: plain(row[name]) if name else None
            for field, name in zip(fields, names, strict=True)
        }
        for row in firsts.to_dict("records")
    }


def varied_fields(frame: "pd.DataFrame") -> tuple[str, ...]:
    """Settings with more than one value in the table, without their `recipe.`."""
    recipes = frame.drop_duplicates("recipe_id")
    return tuple(
        str(name).removeprefix(RECIPE)
        for name in frame
        if str(name).startswith(RECIPE)
        and len({repr(plain(value)) for value in recipes[name].tolist()}) > 1
    )


def column_of(frame: "pd.DataFrame", field: str) -> str | None:
    """The table's column for a setting or dummy parameter; None if it has none."""
    return next((n for n in (f"{RECIPE}{field}", f"{PARAM}{field}", field) if n in frame), None)


def plain(value: Any) -> Any:
    """A cell as JSON knows it: numpy scalars to Python's, NaN to None, 7.0 to 7."""
    import pandas as pd

    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple | dict):
        return value
    if pd.isna(value):
        return None
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def _is_number(column: Any) -> bool:
    import pandas as pd

    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))
