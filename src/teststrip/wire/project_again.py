"""A stage run again, in a folder with its inputs alone and a process of its own.

The process has an empty home, and the device's kind, threads and rows of the stage's lock record:

    python -P -m teststrip.wire.project_again STAGE

It works in the current folder and speaks JSON, a line for each thing: {"progress": [what, done,
total]}, at the end {"error": ...} or {"done": true}.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from teststrip import logs
from teststrip.errors import StudyError, TeststripError
from teststrip.files import storage_error
from teststrip.project.layout import PARAMS, WORK, Stage
from teststrip.project.project import Project
from teststrip.project.record import Record
from teststrip.wire.project_run import run_stages
from teststrip.wire.stages import Progress

MARK = "\x1e"  # before our lines: whatever else libraries print is no message
EVERY_S = 0.2
# Where a variable of the machine's owner would decide something; and no record is written.
_DROPPED = ("MLFLOW_", "RANK", "WORLD_SIZE", "LOCAL_RANK", "TESTSTRIP_HOME", "TESTSTRIP_DEVICE")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def run_again(
    project: Project, stage: Stage, then: Record, place: Path, progress: Progress
) -> Path:
    """Run `stage` as its record `then` says in `place`, an empty folder; returns the project.

    Raises StudyError with what the stage said where it fails, StorageError where `place` is full.
    """
    copy = place / "project"
    _bring(project, stage, copy)
    _run(copy, place / "home", stage, then, progress)
    return copy


def _bring(project: Project, stage: Stage, copy: Path) -> None:
    """The stage's inputs, params.yaml, and links to what the project's owner put beside them.

    Other stages' outputs stay away, so that a stage that reads what it does not name is found out.
    """
    owned = {name.partition("/")[0] for one in project.stages for name in one.written}
    owned |= {name.partition("/")[0] for one in project.stages for name in one.inputs}
    owned |= {WORK, "locks", "data"}
    try:
        copy.mkdir(parents=True)
        for entry in sorted(project.root.iterdir()):
            if entry.name == PARAMS:
                shutil.copyfile(entry, copy / PARAMS)
            elif entry.name not in owned and not entry.name.startswith("."):
                (copy / entry.name).symlink_to(entry)
        for name in stage.inputs:
            source, target = project.root / name, copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, target)
    except (OSError, shutil.Error) as exc:
        error = exc if exc.args and isinstance(exc.args[0], int) else OSError(str(exc))
        raise storage_error(copy, error) from exc


def _run(copy: Path, home: Path, stage: Stage, then: Record, progress: Progress) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith(_DROPPED)}
    environ["TESTSTRIP_HOME"] = str(home)
    if then.device.get("name", "cpu") == "cpu":
        environ["TESTSTRIP_DEVICE"] = "cpu"
    threads = then.environment.get("threads")
    if threads:
        environ |= dict.fromkeys(_THREADS, str(threads))
    rows = then.environment.get("max_rows")
    if rows:
        environ["TESTSTRIP_MAX_ROWS"] = str(rows)
    command = [sys.executable, "-P", "-m", "teststrip.wire.project_again", stage.name]
    error = ""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        subprocess.Popen(  # noqa: S603 - our own module
            command, cwd=copy, env=environ, stdout=subprocess.PIPE, stderr=said, text=True
        ) as process,
    ):
        try:
            for line in process.stdout or ():
                if not line.startswith(MARK):
                    continue
                message = json.loads(line[len(MARK) :])
                if "progress" in message:
                    what, done, total = message["progress"]
                    progress(f"{stage.name}: {what}", done, total)
                error = message.get("error", error)
        except BaseException:
            process.terminate()
            raise
        if process.wait() == 0:
            return
        said.seek(0)
        last = said.read().strip().splitlines()[-1:]
    raise StudyError(
        f"stage {stage.name} cannot be run again from its inputs alone: "
        + (error or " ".join(last) or f"its process ended with {process.returncode}")
    )


def main(stage: str) -> int:
    """What the process does. Exit code: 0 done, 1 not."""
    logs.configure()
    try:
        run_stages(Path(), [stage], track=False, progress=_Told())
    except TeststripError as exc:
        _say({"error": str(exc)})
        return 1
    except KeyboardInterrupt:
        _say({"error": "stopped"})
        return 1
    _say({"done": True})
    return 0


class _Told:
    """Progress, on stdout."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, what: str, done: int, total: int) -> None:
        if time.monotonic() >= self._next or done == total:
            self._next = time.monotonic() + EVERY_S
            _say({"progress": [what, done, total]})


def _say(message: dict[str, Any]) -> None:
    print(f"{MARK}{json.dumps(message)}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
