"""Votes and marks go to MLflow, with the study's run: soon after they are cast, or when it is back.

The files in the study's folder are the first record. A note beside them says how much of each
MLflow has; what it lacks is sent by a thread, a few seconds after the last vote, and again and
again while the store is down. Votes that another machine sent are taken over first.
"""

import json
import logging
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.errors import MissingExtra, StorageError
from teststrip.files import write_atomic
from teststrip.lock import waiting
from teststrip.study import lines
from teststrip.study.marks import MARKS
from teststrip.study.votes import VOTES, merge

if TYPE_CHECKING:
    from teststrip.track.votes import StudyFiles

log = logging.getLogger(__name__)
SENT = "votes.sent"
FILES = (VOTES, MARKS)
QUIET_S, RETRY_S, LONGEST_S = 3.0, 15.0, 300.0


@dataclass(frozen=True)
class Standing:
    """Is everything in MLflow? `waiting`: lines that are not. `fault`: why, once it was tried.

    `kept`: there is no record to send to, so the study's folder is where they stay.
    """

    waiting: int
    fault: str = ""
    kept: bool = False

    @property
    def text(self) -> str:
        """One sentence for the page."""
        if self.kept:
            return "Votes are kept in the study's folder; this study has no record in MLflow."
        if self.fault:
            return (
                f"MLflow cannot be reached: {_counted(self.waiting)} kept here, sent when it is "
                f"back. ({self.fault})"
            )
        if self.waiting:
            return f"{_counted(self.waiting)} on the way to MLflow."
        return "All votes are in MLflow, too."


class Courier:
    """Sends the vote files of a home's studies. Its thread starts with the first that waits."""

    def __init__(self, home: Path, quiet_s: float = QUIET_S, retry_s: float = RETRY_S) -> None:
        self._home, self._quiet_s, self._retry_s = home, quiet_s, retry_s
        self._changed = threading.Condition()
        self._due: dict[Path, float] = {}
        self._wait: dict[Path, float] = {}
        self._faults: dict[Path, str] = {}
        self._kept: set[Path] = set()
        self._thread: threading.Thread | None = None
        self._files: StudyFiles | None = None

    def standing(self, folder: Path) -> Standing:
        """How things are for a study; wakes the thread if something was left unsent."""
        waiting = _unsent(folder)
        if not self._has_store or folder in self._kept:
            return Standing(waiting, kept=True)
        if waiting:
            with self._changed:
                known = folder in self._due
            if not known:
                self.post(folder)
        return Standing(waiting, self._faults.get(folder, "") if waiting else "")

    def post(self, folder: Path) -> None:
        """Something new is in the folder's files."""
        if not self._has_store:
            return
        with self._changed:
            if folder not in self._faults:
                self._due[folder] = time.monotonic() + self._quiet_s
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name="teststrip-votes", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def settle(self, timeout_s: float = 30.0) -> bool:
        """Wait until nothing is due, or a try failed; True where all was sent."""
        with self._changed:
            self._changed.wait_for(lambda: not self._due or bool(self._faults), timeout_s)
            return not self._due and not self._faults

    def send(self, folder: Path) -> None:
        """Take over what MLflow has, then send what it lacks. Raises StorageError, NotRecorded."""
        from teststrip.track.votes import StudyFiles

        if self._files is None:
            self._files = StudyFiles(self._home)
        with waiting(folder / f"{SENT}.lock"):  # so that none puts an older file in place
            sent = {}
            for name in FILES:
                theirs = self._files.read(folder.name, name)
                if theirs:
                    merge(folder / name, theirs)
                ours = lines.whole(folder / name)
                if ours and ours != theirs:
                    self._files.write(folder.name, name, ours)
                sent[name] = len(ours)
            write_atomic(folder / SENT, json.dumps(sent).encode())

    @property
    def _has_store(self) -> bool:
        return bool(os.environ.get("MLFLOW_TRACKING_URI")) or (self._home / "mlflow.db").exists()

    def _run(self) -> None:
        from teststrip.track.votes import NotRecorded

        while True:
            folder = self._next()
            if folder is None:
                return
            fault, kept = "", False
            try:
                self.send(folder)
            except NotRecorded:
                kept = True
            except (StorageError, MissingExtra) as exc:
                fault = str(exc).partition(". ")[0]
                log.warning("votes of %s wait for MLflow: %s", folder.name, exc)
            except Exception:  # a fault of ours must not end the thread, and is no news for a rater
                fault = "an unexpected error; see the log"
                log.exception("votes of %s could not be sent", folder.name)
            self._told(folder, fault, kept=kept)

    def _next(self) -> Path | None:
        """The folder that is due, once it is; None after a minute without any."""
        with self._changed:
            while True:
                now = time.monotonic()
                due = min(self._due, key=self._due.__getitem__, default=None)
                if due is None:
                    if not self._changed.wait_for(lambda: bool(self._due), 60.0):
                        self._thread = None
                        return None
                elif self._due[due] <= now:
                    return due
                else:
                    self._changed.wait(self._due[due] - now)

    def _told(self, folder: Path, fault: str, *, kept: bool) -> None:
        with self._changed:
            if fault:
                wait = min(2 * self._wait.get(folder, self._retry_s / 2), LONGEST_S)
                self._wait[folder], self._faults[folder] = wait, fault
                self._due[folder] = time.monotonic() + wait
            else:
                self._faults.pop(folder, None)
                self._wait.pop(folder, None)
                if kept or not _unsent(folder):
                    self._due.pop(folder, None)
                if kept:
                    self._kept.add(folder)
            self._changed.notify_all()


def _unsent(folder: Path) -> int:
    """Lines of the files that MLflow does not have."""
    try:
        sent = json.loads((folder / SENT).read_bytes())
    except (OSError, ValueError):
        sent = {}
    known = {name: int(sent.get(name, 0)) for name in FILES} if isinstance(sent, dict) else {}
    return sum(lines.whole(folder / n)[known.get(n, 0) :].count(b"\n") for n in FILES)


def _counted(lines_of_files: int) -> str:
    return f"{lines_of_files} {'entry' if lines_of_files == 1 else 'entries'}"
