"""plots/scores.csv: every picture of `infer` with its scores, one row each, always in one order.

Columns: arm (made | reference), set (gallery | check), prompt_id, prompt, seed, a column for each
score, png (path in the project). Only `check` rows are evidence: those prompts chose nothing.
A score that a picture does not have is empty.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from teststrip.errors import ConfigError
from teststrip.files import write_atomic
from teststrip.project.metrics import DIGITS, Scored

GALLERY, CHECK = "gallery", "check"
FIRST, LAST = ("arm", "set", "prompt_id", "prompt", "seed"), ("png",)


@dataclass(frozen=True)
class Row:
    """One picture in one set. `scores`: column -> number, NaN where there is none."""

    arm: str
    set: str
    prompt_id: str
    prompt: str
    seed: int
    png: str
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Scores:
    """The whole file. `columns`: the scores' names, in the order of the scorers."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def of(self, arm: str, column: str, chosen: str = CHECK) -> list[Scored]:
        """One arm's scores in a set, as metrics.py takes them."""
        return [
            Scored(row.prompt_id, row.seed, row.scores.get(column, math.nan))
            for row in self.rows
            if row.arm == arm and row.set == chosen
        ]

    def write(self, path: Path) -> None:
        """The same rows give the same bytes. Raises StorageError."""
        out = io.StringIO()
        file = csv.writer(out, lineterminator="\n")
        file.writerow([*FIRST, *self.columns, *LAST])
        for row in sorted(self.rows, key=lambda r: (r.arm, r.set, r.prompt_id, r.seed)):
            numbers = [_text(row.scores.get(column, math.nan)) for column in self.columns]
            file.writerow([*(getattr(row, name) for name in FIRST), *numbers, row.png])
        write_atomic(path, out.getvalue().encode())


def read_scores(text: str, what: str) -> Scores:
    """From the content of the file; `what` names it. Raises ConfigError with every fault."""
    lines = list(csv.reader(io.StringIO(text)))
    header = lines[0] if lines else []
    missing = [name for name in (*FIRST, *LAST) if name not in header]
    if missing:
        raise ConfigError(f"{what}: no table of scores: lacks columns {', '.join(missing)}")
    columns = tuple(name for name in header if name not in (*FIRST, *LAST))
    rows: list[Row] = []
    faults: list[str] = []
    for number, cells in enumerate(lines[1:], 2):
        try:
            rows.append(_row(dict(zip(header, cells, strict=True)), columns))
        except ValueError as exc:
            faults.append(f"line {number}: {exc}")
    if faults:
        raise ConfigError(f"{what}: cannot be read", faults)
    return Scores(columns, tuple(rows))


def _row(cells: Mapping[str, str], columns: Sequence[str]) -> Row:
    return Row(
        arm=cells["arm"],
        set=cells["set"],
        prompt_id=cells["prompt_id"],
        prompt=cells["prompt"],
        seed=int(cells["seed"]),
        png=cells["png"],
        scores={name: float(cells[name]) if cells[name] else math.nan for name in columns},
    )


def _text(value: float) -> str:
    return f"{value:.{DIGITS}g}" if math.isfinite(value) else ""
