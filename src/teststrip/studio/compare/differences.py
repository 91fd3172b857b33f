"""What sets images apart: settings and scores, one column an image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from teststrip.evidence.numbers import MINUS, seconds, show
from teststrip.evidence.table import plain
from teststrip.studio.compare.shots import PARAM, RECIPE, Shot, label_of
from teststrip.studio.index import Entry, Score


@dataclass(frozen=True)
class Told:
    """A row of a table. `values`: one an image; `differs`: not all are the same."""

    label: str
    values: tuple[str, ...]
    differs: bool
    note: str = ""


@dataclass(frozen=True)
class Scored:
    """A score's row. `gaps`: each image less the first, empty for the first and where unknown.

    `words`: `better` or `worse` beside a gap, for the objective alone.
    """

    label: str
    values: tuple[str, ...]
    gaps: tuple[str, ...]
    words: tuple[str, ...]
    is_objective: bool
    note: str = ""

    @property
    def differs(self) -> bool:
        """Some image has another value than the first."""
        return len(set(self.values)) > 1


def settings(shots: Sequence[Shot]) -> list[Told]:
    """Prompt, seed and every setting."""
    rows = [_row("prompt", shots, "prompt"), _row("seed", shots, "seed")]
    fields = dict.fromkeys(
        name for shot in shots for name in shot.told if name.startswith((RECIPE, PARAM))
    )
    rows += [_row(label_of(name), shots, name) for name in fields if not name.startswith(PARAM)]
    note = "a dummy, does nothing"
    rows += [_row(label_of(name), shots, name, note) for name in fields if name.startswith(PARAM)]
    return rows


def _row(label: str, shots: Sequence[Shot], column: str, note: str = "") -> Told:
    values = [show(plain(shot.told.get(column))) if shot.row else "" for shot in shots]
    there = {value for value, shot in zip(values, shots, strict=True) if shot.row}
    return Told(label, tuple(values), len(there) > 1, note)


def apart(shots: Sequence[Shot]) -> dict[str, str]:
    """letter -> the settings in which these images differ, in words; dummies are left out."""
    rows = [r for r in settings(shots) if r.differs and not r.note and r.label != "prompt"]
    return {
        shot.letter: ", ".join(f"{r.label} {_short(r.values[k])}" for r in rows)
        for k, shot in enumerate(shots)
    }


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 28 else text[:27] + "…"


def scores(entry: Entry, shots: Sequence[Shot]) -> list[Scored]:
    """Every score of these images, the objective first; then seconds and model calls."""
    order = sorted(entry.scores, key=lambda score: score.column != entry.objective)
    rows = [_scored(entry, score, shots) for score in order]
    rows.append(_measured("seconds", "seconds", shots, seconds))
    rows.append(_measured("model calls", "model_calls", shots, lambda v: f"{v:.0f}"))
    if entry.paired:
        lead = Score("lead", True, None, None)
        note = "objective less its block's mean over recipes, positive is good"
        rows.insert(1, _scored(entry, lead, shots, note))
    return [row for row in rows if any(value != "–" for value in row.values)]


def _scored(entry: Entry, score: Score, shots: Sequence[Shot], note: str = "") -> Scored:
    numbers = [_number(shot.told.get(score.column)) for shot in shots]
    digits = _decimals(score, numbers)
    first, objective = numbers[0], score.column == entry.objective
    gaps, words = [""], [""]
    for value in numbers[1:]:
        gap = None if value is None or first is None else value - first
        gaps.append("" if gap is None else _write(gap, digits, signed=True))
        good = gap is not None and (gap > 0) == score.higher_is_better
        words.append(("better" if good else "worse") if objective and gap else "")
    return Scored(
        label="ahead of its block by" if score.column == "lead" else score.column,
        values=tuple("–" if v is None else _write(v, digits) for v in numbers),
        gaps=tuple(gaps),
        words=tuple(words),
        is_objective=objective,
        note=note or ("" if score.higher_is_better else "less is better"),
    )


def _measured(label: str, column: str, shots: Sequence[Shot], write: Any) -> Scored:
    numbers = [_number(shot.told.get(column)) for shot in shots]
    blank = tuple("" for _ in shots)
    texts = tuple("–" if v is None else write(v) for v in numbers)
    return Scored(label, texts, blank, blank, is_objective=False)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _decimals(score: Score, numbers: Sequence[float | None]) -> int:
    """Three digits of the study's range, or of these numbers where the range is unknown."""
    here = [abs(v) for v in numbers if v]
    spread = max(here, default=1.0)
    if score.low is not None and score.high is not None and score.high > score.low:
        spread = score.high - score.low
    return min(max(2 - math.floor(math.log10(spread)), 0), 6)


def _write(value: float, digits: int, signed: bool = False) -> str:
    text = f"{value:.{digits}f}"
    if not text.strip("-0."):
        return text.lstrip("-")
    return f"+{text}" if signed and value > 0 else text.replace("-", MINUS)
