"""dvc.yaml against the layout: every stage there, and everything that a stage reads made by one.

A pipeline whose training writes `model` while the next stage reads `models` starts, trains for
hours and then fails; that is what this check is for.
"""

import difflib
import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from teststrip.config import read_yaml
from teststrip.errors import ConfigError
from teststrip.project.doctor.finding import Finding, failed, passed
from teststrip.project.doctor.visit import Visit
from teststrip.project.layout import PARAMS, PIPELINE, Stage


@dataclass(frozen=True)
class Described:
    """A stage as dvc.yaml has it. Paths are relative to the project; `made`: path -> cached?"""

    name: str
    cmd: str
    reads: tuple[str, ...]
    made: Mapping[str, bool]
    params: frozenset[str]


def pipeline(visit: Visit) -> Finding:
    """Does dvc.yaml say what the stages read and write? Every fault."""
    try:
        raw = read_yaml(visit.root / PIPELINE)
    except ConfigError as exc:
        return failed(str(exc), f"mend {PIPELINE}, or take it from a new project")
    stages = raw.get("stages") if isinstance(raw, dict) else None
    if not isinstance(stages, dict) or not stages:
        return failed(f"{PIPELINE} has no stages", "take it from a new project")
    described = [_described(name, data) for name, data in stages.items() if isinstance(data, dict)]
    faults = list(_unmade(described, visit)) + list(_twice(described))
    if visit.kind:
        faults += _against_layout(described, visit.stages)
    if faults:
        mend = f"mend {PIPELINE}; a new project of this kind has it right"
        return failed(f"{PIPELINE}: {len(faults)} faults", mend, faults)
    return passed(f"{len(described)} stages, and each finds what it reads")


def _unmade(described: list[Described], visit: Visit) -> Iterator[str]:
    """What a stage reads though no stage makes it and nobody put it there."""
    made = {path: stage.name for stage in described for path in stage.made}
    for stage in described:
        for path in stage.reads:
            if "${" in path or "://" in path or any(_holds(out, path) for out in made):
                continue
            if (visit.root / path).exists() or (visit.root / f"{path}.dvc").is_file():
                continue
            near = difflib.get_close_matches(path, [*made], n=1, cutoff=0.7)
            hint = f"; stage {made[near[0]]} makes {near[0]}" if near else ""
            yield f"stage {stage.name} reads {path}, which is not there and no stage makes{hint}"


def _twice(described: list[Described]) -> Iterator[str]:
    """What two stages write."""
    makers: dict[str, str] = {}
    for stage in described:
        for path in stage.made:
            if path in makers:
                yield f"stages {makers[path]} and {stage.name} both write {path}"
            makers[path] = stage.name


def _against_layout(described: list[Described], layout: tuple[Stage, ...]) -> Iterator[str]:
    here = {stage.name: stage for stage in described}
    for stage in layout:
        if stage.name in here:
            yield from (f"stage {stage.name}{fault}" for fault in _faults(stage, here[stage.name]))
        else:
            yield f"stage {stage.name} is missing"


def _faults(stage: Stage, found: Described) -> Iterator[str]:
    if not re.search(rf"\bproject run\b.*\b{stage.name}\b", found.cmd):
        yield f": its cmd is not `teststrip project run {stage.name}`"
    for path in stage.inputs:
        if not any(_holds(dep, path) or _holds(path, dep) for dep in found.reads):
            yield f" reads {path}, but deps do not say so"
    for path in (*stage.written, stage.lock):
        if not any(_holds(out, path) for out in found.made):
            yield f" writes {path}, but outs, metrics and plots do not say so"
    yield from (
        f": {path} has `cache: false`, so DVC does not keep it"
        for path in stage.outputs
        if found.made.get(path) is False
    )
    yield from (
        f": {path} needs `cache: false`: git keeps it, and a report reads it at any revision"
        for path in (*stage.notes, stage.lock)
        if found.made.get(path) is True
    )
    for section in stage.sections:
        if not any(section == one or section.startswith(f"{one}.") for one in found.params):
            yield f" reads {section} of {PARAMS}, but params do not say so"


def _described(name: str, data: dict[str, Any]) -> Described:
    body = data.get("do") if isinstance(data.get("do"), dict) else data
    body = body if isinstance(body, dict) else {}
    folder = str(body.get("wdir") or ".")
    cmd = body.get("cmd")
    made: dict[str, bool] = {}
    for key in ("outs", "metrics", "plots"):
        for path, options in _entries(body.get(key)):
            is_cached = options.get("cache", True) if isinstance(options, dict) else True
            made[_path(folder, path)] = bool(is_cached)
    reads = tuple(_path(folder, path) for path, _ in _entries(body.get("deps")))
    return Described(
        name=str(name),
        cmd=" && ".join(map(str, cmd)) if isinstance(cmd, list) else str(cmd or ""),
        reads=reads,
        made=made,
        params=frozenset(_sections(body.get("params"), folder)),
    )


def _sections(params: Any, folder: str) -> Iterator[str]:
    """What is tracked of params.yaml: sections, or single keys as `train.revision`."""
    for entry in params if isinstance(params, list) else ():
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            for file, keys in entry.items():
                if _path(folder, str(file)) == PARAMS:
                    yield from map(str, keys or ())


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    for entry in value if isinstance(value, list) else ():
        if isinstance(entry, dict):
            yield from ((str(path), options) for path, options in entry.items())
        else:
            yield str(entry), None


def _path(folder: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(folder, path))


def _holds(folder: str, path: str) -> bool:
    """Whether `path` is `folder` or lies below it."""
    return path == folder or path.startswith(f"{folder}/")
