"""`project verify`: do a project's results come from its inputs, by running each stage again?

First hashes: is everything what the lock records say? Then each stage again, in a temporary folder
that holds nothing but its inputs, with an empty home and as many threads as the record says.
"""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.errors import StudyError
from teststrip.lock import FolderLock
from teststrip.project import compare, machine, record
from teststrip.project.layout import PARAMS, WORK, Stage
from teststrip.project.project import Project
from teststrip.project.record import Record
from teststrip.wire.project_again import run_again
from teststrip.wire.project_run import open_project, stages_named
from teststrip.wire.stages import Progress

MOST_NAMED = 5
MOST_LETTERS = 60


@dataclass(frozen=True)
class Checked:
    """One stage. `how`: hashes, bytes, tolerance, or again: it could not be run.

    `why`: reasons why not every byte must be the same.
    """

    stage: str
    how: str
    files: int
    faults: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        lines = [f"{self.stage}: {self._verdict()}"]
        lines += [f"  because of: {', '.join(self.why)}"] if self.why else []
        lines += [f"  - {text}" for text in (self.faults or self.apart)[:MOST_NAMED]]
        more = len(self.faults or self.apart) - MOST_NAMED
        return "\n".join([*lines, *([f"  - and {more} more"] if more > 0 else [])])

    def _verdict(self) -> str:
        files = "1 file" if self.files == 1 else f"{self.files} files"
        if self.faults and self.how == "hashes":
            return "is not what its lock record says"
        if self.how == "again":
            return "cannot be run again"
        if self.faults:
            return f"DIFFERS when it is run again ({self.seconds:.0f} s)"
        if self.how == "hashes":
            return f"{files} as its lock record says; not run again"
        if self.how == "bytes":
            return f"run again, every byte the same: {files}, {self.seconds:.0f} s"
        same = self.files - len(self.apart)
        return (
            f"run again, {same} of {files} the same, the others within the tolerance, "
            f"{self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class Verified:
    """What was found, stage by stage."""

    stages: tuple[Checked, ...]

    @property
    def ok(self) -> bool:
        """Nothing differs."""
        return not any(stage.faults for stage in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        stages = [dict(vars(one)) | {"ok": not one.faults} for one in self.stages]
        return {"ok": self.ok, "stages": stages}

    def __str__(self) -> str:
        lines = [str(stage) for stage in self.stages]
        bad = [stage for stage in self.stages if stage.faults]
        if bad:
            lines.append(f"not verified: {bad[0].faults[0]}")
        else:
            lines.append("verified" if self.stages else "nothing to verify")
        return "\n".join(lines)


def verify(
    root: Path,
    names: Sequence[str],
    *,
    quick: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Verified:
    """Compare hashes with the lock records, then run each stage of `names` again (all without).

    Raises ConfigError for an unknown stage or a damaged record, StudyError where another process
    runs this project, StorageError where the temporary folder cannot hold it.
    """
    project = open_project(root)
    chosen = stages_named(project, names)
    with FolderLock(project.root / WORK, f"project {project.root.name!r}").held():
        found = [_hashes(project, stage) for stage in chosen]
        if not quick:
            found = [
                one if one.faults else _again(project, stage, progress)
                for one, stage in zip(found, chosen, strict=True)
            ]
    return Verified(tuple(found))


def _hashes(project: Project, stage: Stage) -> Checked:
    then = Record.find(project, stage)
    if then is None:
        fault = (
            f"{stage.lock}: not there; run the stage: dvc repro, or {record.command(stage.name)}"
        )
        return Checked(stage.name, "hashes", 0, (fault,))
    written = then.outputs | then.timed
    redo = f"run it again: dvc repro, or {record.command(stage.name)}"
    faults = [
        f"{PARAMS}: {change}; {redo}"
        for change in _changes(then.params, record.params_of(project.params, stage))
    ]
    now = record.hash_files(project.root, stage.inputs)
    faults += _apart(then.inputs, now, f"{stage.name} read another one; {redo}")
    made = record.hash_files(project.root, stage.written)
    faults += _apart(written, made, f"not what {stage.name} made; bring it back: dvc checkout")
    return Checked(stage.name, "hashes", len(written), tuple(faults))


def _changes(then: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> list[str]:
    """`train.steps is 300, was 200`, for each key that differs."""
    found = []
    for name in sorted({*then, *now}):
        before, after = then.get(name), now.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _changes(before, after, f"{above}{name}.")
        elif before != after:
            found.append(f"{above}{name} is {_short(after)}, was {_short(before)}")
    return found


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 3]}..."


def _apart(then: record.Hashes, now: record.Hashes, other: str) -> list[str]:
    faults = []
    for name in sorted({*then, *now}):
        if name not in now:
            faults.append(f"{name}: not there; fetch it: dvc pull, or dvc checkout")
        elif name not in then:
            faults.append(f"{name}: in no lock record; it came later: remove it, or dvc checkout")
        elif then[name] != now[name]:
            faults.append(f"{name}: {other}")
    return faults


def _again(project: Project, stage: Stage, progress: Progress) -> Checked:
    then = Record.read(project.path(stage.lock))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="teststrip-verify-") as place:
        try:
            copy = run_again(project, stage, then, Path(place), progress)
        except StudyError as exc:
            return Checked(stage.name, "again", 0, (str(exc),), seconds=_since(started))
        now = Record.read(copy / stage.lock)
        why = _reasons(then, now)
        faults: list[str] = []
        apart: list[str] = []
        for name in sorted({*then.outputs, *now.outputs}):
            found = _compared(project.root, copy, name, then, now)
            if found is None:
                continue
            (apart if why and found.accepted else faults).append(f"{name}: {found.text}")
        faults += [
            f"{name}: was {'not ' if name in now.timed else ''}made this time"
            for name in sorted(set(then.timed) ^ set(now.timed))
        ]
    how = "tolerance" if why else "bytes"
    return Checked(
        stage.name, how, len(then.outputs), tuple(faults), why, tuple(apart), _since(started)
    )


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)


def _compared(
    root: Path, copy: Path, name: str, then: Record, now: Record
) -> compare.Difference | None:
    if name not in now.outputs:
        return compare.Difference("bytes", "was not made this time", accepted=False)
    if name not in then.outputs:
        return compare.Difference("bytes", "was made this time only", accepted=False)
    if then.outputs[name] == now.outputs[name]:
        return None
    return compare.compare(root / name, copy / name)


def _reasons(then: Record, now: Record) -> tuple[str, ...]:
    """Why a tolerance holds instead of bytes; empty: the same code on the same kind of CPU."""
    found = machine.differs(then.environment, now.environment)
    if then.code.get("source_sha256") != now.code.get("source_sha256"):
        versions = then.code.get("teststrip"), now.code.get("teststrip")
        found.append(f"teststrip {versions[0]}, now {versions[1]} (other source)")
    devices = [one.device.get("card") or one.device.get("name", "") for one in (then, now)]
    if devices[0] != devices[1]:
        found.append(f"made on {devices[0] or 'no device'}, now on {devices[1] or 'no device'}")
    elif then.device.get("name", "cpu") != "cpu":
        found.append(f"computed on {devices[0]}, not on a CPU")
    return tuple(found)
