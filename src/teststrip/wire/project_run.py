"""`project run`: a stage with its inputs checked, its outputs hashed, its lock record written last.

Without names it runs what is out of date by the lock records, so that a project works without DVC.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, StudyError
from teststrip.lock import FolderLock
from teststrip.project import machine, record
from teststrip.project.layout import WORK, Stage
from teststrip.project.project import Project
from teststrip.project.record import Record
from teststrip.wire.bench import settings
from teststrip.wire.stages import Here, Progress, find


@dataclass(frozen=True)
class StageRun:
    """One stage that ran: why, how long, what it says."""

    stage: str
    why: str
    seconds: float
    said: str
    outputs: int


@dataclass(frozen=True)
class Ran:
    """What `project run` did: stages that ran, and those that were up to date."""

    ran: tuple[StageRun, ...] = ()
    fresh: tuple[str, ...] = ()
    root: Path = field(default_factory=Path)

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        return {
            "project": str(self.root),
            "ran": [dict(vars(run)) for run in self.ran],
            "up_to_date": list(self.fresh),
        }

    def __str__(self) -> str:
        lines = [f"{name}: up to date" for name in self.fresh]
        for run in self.ran:
            said = f": {run.said}" if run.said else ""
            lines.append(f"{run.stage}: {run.outputs} files in {run.seconds:.1f} s{said}")
        return "\n".join(lines)


def open_project(root: Path) -> Project:
    """The project at `root`; its home is TESTSTRIP_HOME where that is set, else its own work/.

    Raises ConfigError.
    """
    here = settings()
    home = here.home.resolve() if "home" in here.model_fields_set else None
    return Project.open(root.resolve(), home)


def run_stages(
    root: Path,
    names: Sequence[str],
    *,
    track: bool = True,
    progress: Progress = lambda what, done, total: None,
) -> Ran:
    """Run the stages of `names` in the pipeline's order; without names all that are out of date.

    Raises ConfigError for an unknown stage or inputs that are not there, StudyError where another
    process runs this project, and what the stages raise.
    """
    project = open_project(root)
    chosen = stages_named(project, names)
    here = Here(device=settings().device, track=track, progress=progress)
    if os.environ.get("RANK", "0") != "0":
        # One of several processes of a training on several GPUs: the first one keeps the books.
        for stage in chosen:
            find(stage.name)(project, here)
        return Ran(root=project.root)
    ran, fresh = [], []
    with FolderLock(project.root / WORK, f"project {project.root.name!r}").held():
        for stage in chosen:
            why = "named" if names else stale(project, stage)
            if why:
                ran.append(_run(project, stage, here, why))
            else:
                fresh.append(stage.name)
    return Ran(tuple(ran), tuple(fresh), project.root)


def stages_named(project: Project, names: Sequence[str]) -> tuple[Stage, ...]:
    """Each once, in the pipeline's order; all without names. Raises ConfigError for any unknown."""
    faults = []
    for name in dict.fromkeys(names):
        try:
            project.stage(name)
        except ConfigError as exc:
            faults.append(exc.what)
    if faults:
        raise ConfigError("no such stage", faults)
    return tuple(stage for stage in project.stages if not names or stage.name in names)


def stale(project: Project, stage: Stage) -> str:
    """Why a stage must run again; empty where its record says that it need not."""
    path = project.path(stage.lock)
    if not path.is_file():
        return "it has no lock record"
    try:
        then = Record.read(path)
    except ConfigError as exc:
        return exc.what
    written = then.outputs | then.timed
    changed = {
        "parameters": then.params != record.params_of(project.params, stage),
        "code": then.code.get("source_sha256") != machine.source_sha256(),
        "inputs": then.inputs != record.hash_files(project.root, stage.inputs),
        "outputs": written != record.hash_files(project.root, stage.written),
    }
    found = [what for what, differs in changed.items() if differs]
    return f"other {', '.join(found)} than its lock record says" if found else ""


def inputs(project: Project, stage: Stage) -> None:
    """Raises ConfigError that names every input that is not there, and who makes it."""
    makers = {name: one.name for one in project.stages for name in one.written}
    faults = []
    for name in record.missing(project.root, stage.inputs):
        if name in makers:
            faults.append(
                f"{name}: not there; stage {makers[name]} makes it: dvc repro, "
                f"{record.command(makers[name])}, or dvc pull where it was made elsewhere"
            )
        else:
            faults.append(f"{name}: not there; put it there, or fetch it: dvc pull")
    if faults:
        count = "1 input is" if len(faults) == 1 else f"{len(faults)} inputs are"
        raise ConfigError(f"stage {stage.name}: {count} missing", faults)


def _run(project: Project, stage: Stage, here: Here, why: str) -> StageRun:
    inputs(project, stage)
    before = record.stamps(project.root, stage.inputs)
    hashes = record.hash_files(project.root, stage.inputs)
    started = time.monotonic()
    made = find(stage.name)(project, here)
    seconds = time.monotonic() - started
    if record.stamps(project.root, stage.inputs) != before:
        raise StudyError(
            f"stage {stage.name}: its inputs ({', '.join(stage.inputs)}) were changed while it "
            "ran, so that nobody can say what it read; run it again"
        )
    left_out = record.missing(project.root, stage.written)
    if left_out:
        raise StudyError(
            f"stage {stage.name} ended without {', '.join(left_out)}; run it again with "
            "TESTSTRIP_LOG=INFO and see what it says"
        )
    found = Record.of(
        project,
        stage,
        hashes,
        resolved=made.resolved,
        model=made.model,
        device=made.device,
        seconds=seconds,
    )
    found.write(project.path(stage.lock))
    count = len(found.outputs) + len(found.timed)
    return StageRun(stage.name, why, found.seconds, made.said, count)
