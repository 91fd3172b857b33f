"""plots/curves.csv: a training's numbers by step; empty where nothing was measured.

Columns: step, loss (mean of the steps since the row before), val_loss (pictures that were held
out; step 0 is the base model), then a column for each score of the validation pictures.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError
from teststrip.files import write_atomic

DIGITS = 6
STEP, LOSS, VAL_LOSS = "step", "loss", "val_loss"


@dataclass(frozen=True)
class Curves:
    """The whole file. `columns`: all but the step; `rows`: step -> column -> number."""

    columns: tuple[str, ...]
    rows: Mapping[int, Mapping[str, float]]

    def of(self, column: str) -> list[tuple[int, float]]:
        """One curve: (step, number), where it was measured, by step."""
        found = ((step, row.get(column, math.nan)) for step, row in sorted(self.rows.items()))
        return [(step, value) for step, value in found if math.isfinite(value)]

    def write(self, path: Path) -> None:
        """The same numbers give the same bytes. Raises StorageError."""
        out = io.StringIO()
        file = csv.writer(out, lineterminator="\n")
        file.writerow([STEP, *self.columns])
        for step, row in sorted(self.rows.items()):
            file.writerow([step, *(_text(row.get(column, math.nan)) for column in self.columns)])
        write_atomic(path, out.getvalue().encode())


def curves_of(rows: Sequence[Mapping[str, Any]], scores: Sequence[str]) -> Curves:
    """From rows of a run's metrics.jsonl; of a step that comes twice the later row counts."""
    columns = (LOSS, VAL_LOSS, *scores)
    found: dict[int, dict[str, float]] = {}
    for row in rows:
        known = {name: float(row[name]) for name in columns if row.get(name) is not None}
        if known:
            found.setdefault(int(row[STEP]), {}).update(known)
    return Curves(columns, found)


def read_curves(text: str, what: str) -> Curves:
    """From the content of the file; `what` names it. Raises ConfigError if it is none."""
    lines = list(csv.reader(io.StringIO(text)))
    header = lines[0] if lines else []
    if not header or header[0] != STEP:
        raise ConfigError(f"{what}: no table of curves: its first column is not {STEP}")
    try:
        rows = {
            int(step): {
                name: float(cell) for name, cell in zip(header[1:], cells, strict=True) if cell
            }
            for step, *cells in lines[1:]
        }
    except ValueError as exc:
        raise ConfigError(f"{what}: cannot be read: {exc}") from exc
    return Curves(tuple(header[1:]), rows)


def _text(value: float) -> str:
    return f"{value:.{DIGITS}g}" if math.isfinite(value) else ""
