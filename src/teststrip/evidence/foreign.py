"""A table of images from any tool -> the table that the evidence reads.

Nothing is guessed silently: `notes` says what was assumed, and what cannot be known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.errors import ConfigError
from teststrip.evidence.roles import DUMMY, LESS_IS_BETTER, Given, Roles, is_number, roles
from teststrip.evidence.table import MAX_ROWS, PARAM, RECIPE, checked, plain
from teststrip.evidence.table_file import read_frame
from teststrip.recipe import canonical_json, short_hash

if TYPE_CHECKING:
    import pandas as pd

MADE = {"ok", "done", "success", "succeeded", "complete", "completed", "finished", "true", "1"}
HELD_OUT = {"held_out", "heldout", "held out", "holdout", "confirm", "confirmation", "test"}
SEARCH = {"search", "train", "tune", "tuning", "validation", "val", "dev", ""}
KEPT = ("block", "rung", "trial", "study", "tags", "reason", "png", "image_key", "model_calls")


@dataclass(frozen=True)
class Foreign:
    """A table as `evidence.table.checked` returns it, its scores (the objective first) and what
    had to be assumed, one sentence each."""

    table: "pd.DataFrame"
    scores: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def objective(self) -> str:
        """The score that decides."""
        return self.scores[0]


def read(path: Path, given: Given | None = None, objective: str | None = None) -> Foreign:
    """Read a `.parquet` or `.csv` table with any column names (see `roles`).

    `objective`: the score that decides where no flag says so and the table has it. Raises
    ConfigError with every fault and the flag that mends it.
    """
    return understood(read_frame(path), given or Given(), str(path), objective)


def understood(
    frame: "pd.DataFrame", given: Given, what: str, objective: str | None = None
) -> Foreign:
    """A frame of somebody's rows as the evidence's table."""
    if not 0 < len(frame) <= MAX_ROWS:
        raise ConfigError(f"{what}: {len(frame)} rows; 1 to {MAX_ROWS:,} are accepted")
    which = roles(frame, given, what)
    notes, faults = list(which.notes), list[str]()
    out = frame[[name for name in KEPT if name in frame.columns]].copy()
    _settings(frame, which, out)
    for name in which.scores:
        out[name] = _score(frame[name], name, notes, faults)
    _names(frame, which, out, faults)
    for role in ("status", "split", "seconds"):
        if role in which.single:
            _ROLES[role](frame[which.single[role]], out, given, notes, faults)
    if faults:
        raise ConfigError(f"{what}: cannot be used", faults)
    if "recipe_id" in out:
        _one_setting_each(out, notes)
    _seed(frame, which, out, notes)
    scores = which.scores
    if objective in scores and not given.scores:
        scores = (objective, *(name for name in scores if name != objective))
    elif LESS_IS_BETTER.search(scores[0]):
        notes.append(f"A lower {scores[0]} is usually better: then pass --lower-is-better.")
    return Foreign(checked(out, what, scores[0]), scores, tuple(notes))


def _settings(frame: "pd.DataFrame", which: Roles, out: "pd.DataFrame") -> None:
    for name in which.settings:
        is_dummy = name.startswith((PARAM, DUMMY))
        field = name.removeprefix(RECIPE).removeprefix(PARAM)
        out[(PARAM if is_dummy else RECIPE) + field] = _values(frame[name])


def _values(column: "pd.Series") -> "pd.Series":
    """Settings that can be compared and written: what JSON cannot hold becomes text."""
    if is_number(column) and np.isfinite(column.fillna(0).astype(float)).all():
        return column
    if column.dtype == bool:
        return column

    return _each(column, _writable)


def _writable(cell: Any) -> Any:
    cell = plain(cell)
    if isinstance(cell, str):
        return cell.strip() or None
    if isinstance(cell, list | tuple | dict):
        return canonical_json(cell)
    infinite = isinstance(cell, float) and not np.isfinite(cell)
    known = isinstance(cell, bool | int | float | None)
    return str(cell) if infinite or not known else cell


def _each(column: "pd.Series", change: Callable[[Any], Any]) -> "pd.Series":
    """Change every cell, asked once for each different value."""
    import pandas as pd

    try:
        codes, values = pd.factorize(column, use_na_sentinel=False)
    except TypeError:  # lists have no hash
        return pd.Series([change(cell) for cell in column], index=column.index, dtype=object)
    changed = np.empty(len(values), dtype=object)
    changed[:] = [change(value) for value in values]
    return pd.Series(changed[codes], index=column.index, dtype=object)


def _score(column: "pd.Series", name: str, notes: list[str], faults: list[str]) -> "pd.Series":
    """Numbers; what is none is missing, never made up."""
    import pandas as pd

    text = not is_number(column) and column.dtype != bool
    numbers = pd.to_numeric(column, errors="coerce") if text else column
    numbers = numbers.astype(float)
    if not np.isfinite(numbers).any():
        faults.append(f"score {name!r}: not one number in {len(column)} rows")
        return numbers
    lost = int((column.notna() & ~np.isfinite(numbers)).sum())
    if lost:
        bad = column[column.notna() & ~np.isfinite(numbers)].iloc[0]
        notes.append(
            f"{lost} of {len(column)} values of {name} are no finite numbers (the first is "
            f"{str(bad)[:40]!r}); they count as missing, not as 0."
        )
    if column.dtype == bool:
        notes.append(f"{name} is true or false and counts as 1 or 0.")
    return numbers


def _names(frame: "pd.DataFrame", which: Roles, out: "pd.DataFrame", faults: list[str]) -> None:
    """Recipe and prompt; an empty one has no place in a comparison."""
    for role, name in which.single.items():
        if role not in ("recipe", "prompt"):
            continue
        column = frame[name]
        empty = int((column.isna() | (column.astype(str).str.strip() == "")).sum())
        if empty:
            faults.append(f"{role} {name!r}: empty in {empty} of {len(column)} rows")
        text = _each(column, lambda cell: str(plain(cell)))
        if role == "recipe":
            out["recipe_id"] = text
        elif name == "prompt_id":
            out["prompt_id"] = text
            if "prompt" in frame.columns:
                out["prompt"] = frame["prompt"]
        else:
            is_id = name.endswith("id") or is_number(column)
            out["prompt_id"] = text if is_id else _each(text, lambda words: short_hash(words, 8))
            out["prompt"] = text


def _seed(frame: "pd.DataFrame", which: Roles, out: "pd.DataFrame", notes: list[str]) -> None:
    """Seeds as whole numbers; without them images of a prompt are numbered as they come."""
    import pandas as pd

    name = which.single.get("seed")
    column = frame[name] if name else None
    if column is not None and column.notna().all():
        if is_number(column) and (column % 1 == 0).all():
            if not (column == -1).all():
                out["seed"] = column.astype(np.int64)
                return
            notes.append("Every seed is -1, which means a random one.")
        elif column.nunique() > 1:
            out["seed"] = pd.factorize(column.astype(str), sort=True)[0]
            notes.append(f"Seeds of {name} are no whole numbers; equal ones count as equal.")
            return
    elif column is not None:
        notes.append(f"{int(column.isna().sum())} of {len(column)} rows have no seed.")
    recipe = ["recipe_id"] if "recipe_id" in out else [n for n in out if n.startswith(RECIPE)]
    by = [*recipe, "prompt_id", *(["split"] if "split" in out else [])]
    out["seed"] = out.groupby(by, dropna=False, sort=False).cumcount()
    notes.append(
        "Without seeds the images of a prompt are numbered in their order; whether recipes are "
        "paired by seed cannot be checked."
    )


def _status(
    column: "pd.Series", out: "pd.DataFrame", given: Given, notes: list[str], faults: list[str]
) -> None:
    words = column.fillna("ok").astype(str).str.strip().str.lower()
    out["status"] = np.where(words.isin(MADE), "ok", "failed")
    if "reason" not in out:
        out["reason"] = np.where(words.isin(MADE), "", words)


def _split(
    column: "pd.Series", out: "pd.DataFrame", given: Given, notes: list[str], faults: list[str]
) -> None:
    words = column.fillna("").astype(str).str.strip().str.lower()
    unknown = sorted(set(words.unique()) - HELD_OUT - SEARCH)
    if unknown and given.split:
        faults.append(f"--split {given.split}: {unknown[:3]}; accepted are search and held_out")
    elif unknown:
        notes.append(f"Not used: split, whose values {unknown[:3]} are not known.")
    else:
        out["split"] = np.where(words.isin(HELD_OUT), "held_out", "search")


def _seconds(
    column: "pd.Series", out: "pd.DataFrame", given: Given, notes: list[str], faults: list[str]
) -> None:
    import pandas as pd

    out["seconds"] = pd.to_numeric(column, errors="coerce").astype(float)


_ROLES = {"status": _status, "split": _split, "seconds": _seconds}


def _one_setting_each(out: "pd.DataFrame", notes: list[str]) -> None:
    """A setting that changes within a recipe is none of its settings."""
    for name in [n for n in out if n.startswith(RECIPE)]:
        if (out.groupby("recipe_id", sort=False)[name].nunique(dropna=False) > 1).any():
            del out[name]
            notes.append(f"Not used: {name.removeprefix(RECIPE)}, which changes within a recipe.")
