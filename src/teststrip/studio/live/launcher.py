"""Studies and trainings as processes of their own: they outlive the studio, their log is in their
folder.

The folder's lock, not this file, sees to it that one process runs it; here only a second click
within the second that a process needs to take the lock is caught.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fastapi import HTTPException, Request

from teststrip.errors import StudyError
from teststrip.files import storage_error
from teststrip.study.config import is_name
from teststrip.study.folder import StudyFolder

LOG = "run.log"
HEAD = "$ teststrip "
LONGEST_LOG, SHOWN_BYTES, SHOWN_LINES = 1_000_000, 8_000, 30
ENDINGS = ("finished", "budget")


class Launcher:
    """Starts processes for what is in `home`/`room`, called a `what`. Thread-safe."""

    def __init__(self, home: Path, room: str = "studies", what: str = "study") -> None:
        self._home = home.resolve()
        self._room, self._what = room, what
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def resume(self, name: str, *, budget: Sequence[str] = (), retry_failed: bool = False) -> None:
        """Go on with a study; `budget` holds changes such as `budget.images=800`.

        Raises StudyError where there is none or it cannot be resumed from here, HTTPException 409
        where it runs already or nothing is left to do.
        """
        record = self.folder(name).read()
        if record.get("parts") == "python":
            raise StudyError(
                f"study {name!r} was started from Python with a generator or scorers of its own; "
                "resume it there"
            )
        if record.get("state") == "finished" and not retry_failed:
            raise HTTPException(409, f"study {name!r} is finished; nothing is left to do")
        changes = [part for change in budget for part in ("--set", change)]
        more = ["--retry-failed"] if retry_failed else []
        more += ["--no-track"] if record.get("tracked") is False else []  # as it was begun
        self.start(name, ["study", "resume", name, "--quiet", *changes, *more])

    def start(self, name: str, command: Sequence[str]) -> None:
        """Run `teststrip COMMAND`, which is about `name`, on its own.

        Raises HTTPException 409 where it runs or starts already, StorageError where its
        folder may not be written to.
        """
        folder = self.folder(name)
        with self._lock:
            child = self._children.get(name)
            if folder.holder() is not None or (child is not None and child.poll() is None):
                raise HTTPException(409, f"{self._what} {name!r} is running already")
            try:
                self._children[name] = _child(folder.path, command, self._home)
            except OSError as exc:
                raise storage_error(folder.path / LOG, exc) from exc

    def is_starting(self, name: str) -> bool:
        """Is a process of ours alive, whether or not it has the lock yet?"""
        child = self._children.get(name)
        return child is not None and child.poll() is None

    def exit_code(self, name: str) -> int | None:
        """How our last process of it ended; None: none did."""
        child = self._children.get(name)
        return None if child is None else child.poll()

    def log(self, name: str) -> str:
        """The end of what the last process said; empty where nothing."""
        path = self.folder(name).path / LOG
        try:
            with path.open("rb") as file:
                file.seek(max(path.stat().st_size - SHOWN_BYTES, 0))
                text = file.read().decode(errors="replace")
        except OSError:
            return ""
        said = text.rpartition(HEAD)[2].partition("\n")[2] if HEAD in text else text
        return "\n".join(said.strip().splitlines()[-SHOWN_LINES:])

    def folder(self, name: str) -> StudyFolder:
        """Its folder by its name. Raises StudyError where that is no name for one."""
        if not is_name(name):
            raise StudyError(f"{name!r} is no name of a {self._what}")
        return StudyFolder(self._home / self._room / name)


def _child(folder: Path, command: Sequence[str], home: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LOG
    is_long = path.exists() and path.stat().st_size > LONGEST_LOG
    with path.open("wb" if is_long else "ab") as log:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        log.write(f"\n{now}\n{HEAD}{' '.join(command)}\n".encode())
        log.flush()
        return subprocess.Popen(  # noqa: S603 - our own interpreter; names were checked
            [sys.executable, "-m", "teststrip", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the studio's terminal is not meant for it
            env=os.environ | {"TESTSTRIP_HOME": str(home)},
        )


def launcher(request: Request) -> Launcher:
    """The app's launcher; for `Depends`."""
    state = request.app.state
    if not hasattr(state, "launcher"):
        state.launcher = Launcher(state.parts.home)
    found: Launcher = state.launcher
    return found


def train_launcher(request: Request) -> Launcher:
    """The app's launcher of training runs; for `Depends`."""
    state = request.app.state
    if not hasattr(state, "train_launcher"):
        state.train_launcher = Launcher(state.parts.home, "runs", "training run")
    found: Launcher = state.train_launcher
    return found
