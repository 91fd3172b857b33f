"""The numbers of metrics/*.json before and after, intervals written as such."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teststrip.evidence.interval import Interval
from teststrip.evidence.numbers import Numbers
from teststrip.project.report.changes import ABSENT
from teststrip.project.report.results import Results

SCORE = "mean"  # what has one is a score with its interval
BOOKS = "higher_is_better"  # for programs
MOST = 60


@dataclass(frozen=True)
class Metric:
    """One line: a number, or a score with its interval, on both sides."""

    stage: str
    name: str
    before: str
    after: str

    @property
    def changed(self) -> bool:
        """The two sides differ as they are written."""
        return self.before != self.after


def metrics(before: Results | None, after: Results) -> tuple[Metric, ...]:
    """Every number of every stage, the last stage first; `before` None: one side alone."""
    out = []
    for stage, found in reversed(list(after.metrics.items())):
        new = leaves(found)
        old = leaves(before.metrics.get(stage, {})) if before else {}
        for name in [*new, *(name for name in old if name not in new)]:
            values = (old.get(name), new.get(name))
            write = Numbers.of([_interval(v) for v in values if isinstance(v, Mapping)])
            out.append(Metric(stage, name, _words(values[0], write), _words(values[1], write)))
    return tuple(out[:MOST])


def leaves(nested: Any, before: str = "") -> dict[str, Any]:
    """name -> a number, or a mapping with mean, low and high where known."""
    if not isinstance(nested, Mapping):
        return {before: nested}
    if SCORE in nested:
        return {before: nested}
    out: dict[str, Any] = {}
    for key, value in nested.items():
        if key != BOOKS:
            out |= leaves(value, f"{before} {key}".strip())
    return out


def _words(value: Any, write: Numbers) -> str:
    if value is None:
        return ABSENT
    if isinstance(value, Mapping):
        found = _interval(value)
        span = write.span(found)
        return f"{write.plain(found.mean)} ({span})" if span else write.plain(found.mean)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.5g}"


def _interval(value: Mapping[str, Any]) -> Interval:
    mean, low, high = (value.get(key) for key in ("mean", "low", "high"))
    known = [x if isinstance(x, int | float) and math.isfinite(x) else None for x in (low, high)]
    whole = None not in known
    return Interval(
        float(mean) if isinstance(mean, int | float) else math.nan,
        known[0] if whole else None,
        known[1] if whole else None,
        int(value.get("prompts") or 0),
    )
