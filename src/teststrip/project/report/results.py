"""What a revision holds, read with care: it may be older than this program, or half done."""

import csv
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from teststrip.errors import ConfigError, TeststripError
from teststrip.project.layout import CURVES, PARAMS, PICTURES, SCORES, STAGES
from teststrip.project.revision import Revision
from teststrip.project.scores import Row, Scores, read_scores

MOST_ROWS = 200_000


@dataclass(frozen=True)
class Results:
    """A revision's small files, parsed. Empty where there is none; `missing` says which and why.

    `params`: params.yaml as it stands, unchecked. `metrics`, `records`: by stage. `curves`: column
    -> numbers, NaN where not measured. `scores`: the columns of the pictures, in order.
    """

    revision: Revision
    kind: str
    params: Mapping[str, Any]
    pictures: tuple[Row, ...] = ()
    scores: tuple[str, ...] = ()
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What people call the revision."""
        return self.revision.name

    def arm(self, arm: str, among: str) -> tuple[Row, ...]:
        """The pictures of an arm (made, reference) in a set (gallery, check)."""
        return tuple(p for p in self.pictures if p.arm == arm and p.set == among)

    @property
    def directions(self) -> dict[str, bool]:
        """Score -> is higher better?"""
        return {score: self.higher_is_better(score) for score in self.scores}

    @property
    def refused(self) -> bool:
        """`select` found no checkpoint better than the base model."""
        return bool(self.metrics.get("select", {}).get("refused"))

    def higher_is_better(self, score: str) -> bool:
        """As infer wrote; else by its gain, which is in the good direction."""
        infer = self.metrics.get("infer", {})
        known = infer.get("higher_is_better")
        if isinstance(known, Mapping) and score in known:
            return bool(known[score])
        made, reference, gain = (
            _mean(infer.get(part, {}), score) for part in ("made", "reference", "gain")
        )
        return not (made - reference) * gain < 0  # NaN: what most scores are


def read(revision: Revision) -> Results:
    """Raises ConfigError where it was no project then, StudyError where git cannot be read."""
    text = revision.find(PARAMS)
    if text is None:
        raise ConfigError(f"{revision.name}: there was no {PARAMS}, so it was no project then")
    params = _parsed(PARAMS, revision, lambda: yaml.safe_load(text.decode("utf-8")))
    if not isinstance(params, dict) or params.get("kind") not in STAGES:
        raise ConfigError(
            f"{revision.name}: {PARAMS} names no kind; {', '.join(STAGES)} are accepted"
        )
    kind, missing = str(params["kind"]), []
    pictures: tuple[Row, ...] = ()
    scores: tuple[str, ...] = ()
    table = revision.find(SCORES)
    if table is None:
        missing.append(f"{revision.name} has no {SCORES}: infer did not run, or it is not in git")
    else:
        found = _parsed(SCORES, revision, lambda: _scores(table, f"{SCORES} of {revision.name}"))
        scores, pictures = found.columns, found.rows
    curve = revision.find(CURVES)
    stages = [stage.name for stage in STAGES[kind]]  # type: ignore[index]
    return Results(
        revision=revision,
        kind=kind,
        params=params,
        pictures=pictures,
        scores=scores,
        metrics=_objects(revision, {name: f"metrics/{name}.json" for name in stages}),
        curves=_parsed(CURVES, revision, lambda: columns(curve)) if curve else {},
        records=_objects(revision, {name: f"locks/{name}.json" for name in stages}),
        missing=tuple(missing),
    )


def columns(table: bytes) -> dict[str, tuple[float, ...]]:
    """plots/curves.csv -> column -> numbers; NaN where a field is empty. Raises ValueError."""
    rows = list(csv.reader(io.StringIO(table.decode("utf-8"), newline="")))
    if not rows or "step" not in rows[0]:
        raise ValueError("no column step")
    if any(len(row) != len(rows[0]) for row in rows):
        raise ValueError("a line with another number of fields than columns")
    return {
        name: tuple(_number(row[i]) for row in rows[1 : MOST_ROWS + 1])
        for i, name in enumerate(rows[0])
    }


def flat(nested: Any, before: str = "") -> dict[str, Any]:
    """`{"train": {"steps": 2}}` -> `{"train.steps": 2}`."""
    if not isinstance(nested, Mapping) or (before and not nested):
        return {before: nested} if before else {}
    out: dict[str, Any] = {}
    for key, value in nested.items():
        out |= flat(value, f"{before}.{key}" if before else str(key))
    return out


def _scores(table: bytes, what: str) -> Scores:
    found = read_scores(table.decode("utf-8"), what)
    for row in found.rows:
        if not row.png.startswith(f"{PICTURES}/") or ".." in row.png.split("/"):
            raise ValueError(f"png {row.png!r} is not below {PICTURES}/")
    return found


def _objects(revision: Revision, paths: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    found = {name: revision.find(path) for name, path in paths.items()}
    return {
        name: _parsed(paths[name], revision, lambda data=data: _object(data))
        for name, data in found.items()
        if data is not None
    }


def _object(data: bytes) -> Mapping[str, Any]:
    found = json.loads(data)
    if not isinstance(found, dict):
        raise TypeError("no JSON object")
    return found


def _parsed(path: str, revision: Revision, parse: Any) -> Any:
    try:
        return parse()
    except TeststripError:
        raise
    except (ValueError, TypeError, csv.Error, yaml.YAMLError, RecursionError) as exc:
        first = str(exc).split("\n", maxsplit=1)[0]
        raise ConfigError(f"{path} of {revision.name} cannot be read: {first}") from exc


def _number(text: str) -> float:
    return float(text) if text.strip() else math.nan


def _mean(scores: Any, score: str) -> float:
    value = scores.get(score, {}).get("mean") if isinstance(scores, Mapping) else None
    return float(value) if isinstance(value, int | float) else math.nan
