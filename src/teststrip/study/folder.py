"""A study's folder: where everything of it lies, who may write to it, and what it was started as.

study.yaml      the file as it was given
study.json      the resolved config, versions and state
optuna.journal  Optuna's own record of the trials (opens in optuna-dashboard)
rows.jsonl      what happened to each image, line by line
progress.json   how far it is, while it runs; see progress.py
stop            is there while somebody asks the process that runs it to stop
images/         the pictures, by image key
images.parquet  the table, one row per image
"""

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from teststrip.errors import StudyError
from teststrip.files import storage_error, write_atomic

LOCK_WAIT_S = 0.5  # longer than anybody looks at the lock, see `holder`


class StudyFolder:
    """Paths and state of one study."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.journal = path / "optuna.journal"
        self.rows = path / "rows.jsonl"
        self.images = path / "images"
        self.table = path / "images.parquet"
        self.yaml = path / "study.yaml"
        self.progress = path / "progress.json"
        self.stop = path / "stop"
        self._lock = path / "lock"
        self._json = path / "study.json"

    def exists(self) -> bool:
        """Was a study started here?"""
        return self._json.exists()

    def read(self) -> dict[str, Any]:
        """The content of study.json. Raises StudyError if there is none or it is damaged."""
        try:
            data = json.loads(self._json.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StudyError(
                f"no study {self.name!r} in {self.path.parent}; "
                "see `teststrip study list`, start one with `teststrip study run FILE`"
            ) from None
        except (OSError, ValueError) as exc:
            raise StudyError(f"{self._json}: cannot be read: {exc}") from exc
        if not isinstance(data, dict) or "config" not in data:
            raise StudyError(f"{self._json}: is not the record of a study")
        return data

    def write(self, **changes: Any) -> None:
        """Merge `changes` into study.json."""
        data = (self.read() if self.exists() else {}) | changes
        data["changed"] = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps(data, indent=1, ensure_ascii=False)
        write_atomic(self._json, text.encode())

    def is_empty(self) -> bool:
        """Was no picture made yet? Then nothing is lost by starting over."""
        return next(self.images.glob("*/*.png"), None) is None

    def start_over(self) -> None:
        """Forget a study that made nothing, so that a mended config may take its name."""
        for path in (self._json, self.journal, self.rows, self.table, self.yaml, self.progress):
            path.unlink(missing_ok=True)

    def holder(self) -> int | None:
        """The process id of whoever runs the study now; 0 if it is not known yet, None: nobody.

        Two who look at once do not disturb each other, nor does who looks a process that starts.
        """
        try:
            handle = os.open(self._lock, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            words = os.pread(handle, 32, 0).decode(errors="replace").split()
            return int(words[1]) if len(words) == 2 and words[1].isdigit() else 0
        finally:
            os.close(handle)
        return None

    def ask_to_stop(self, who: str) -> None:
        """Ask the process that runs the study to stop at the next image; it keeps what is made.

        A file and not a signal: a process id may be another's by now, or of another machine.
        Raises StudyError if nobody runs it.
        """
        if self.holder() is None:
            raise StudyError(f"study {self.name!r} is not running")
        write_atomic(self.stop, who.encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study alone. The kernel frees the lock when a process dies, however it dies.

        Raises StudyError if another process holds it, StorageError if the folder is read-only.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise storage_error(self.path, exc) from exc
        try:
            try:
                _take(handle)
            except OSError as exc:
                raise StudyError(
                    f"study {self.name!r} is being run by another process "
                    f"({os.pread(handle, 32, 0).decode(errors='replace').strip() or 'unknown'}); "
                    "wait for it or stop it first"
                ) from exc
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()}\n".encode(), 0)
            self.stop.unlink(missing_ok=True)  # it was meant for an earlier process
            yield
        except OSError as exc:
            if isinstance(exc, StudyError) or exc.filename is None:
                raise
            raise storage_error(Path(str(exc.filename)), exc) from exc
        finally:
            os.close(handle)


def _take(handle: int) -> None:
    """Lock alone; waits a moment for those who only look. Raises OSError if it is held."""
    until = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two resolved configs, one line each. A budget may grow."""
    lines = []
    for key, was, now in _leaves("", old, new):
        if was == now or (key.startswith("budget.") and _grew(was, now)):
            continue
        lines.append(f"{key}: was {_short(was)}, now {_short(now)}")
    return lines


def _leaves(at: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _leaves(f"{at}.{key}" if at else key, old.get(key), new.get(key))
    else:
        yield at, old, new


def _grew(was: Any, now: Any) -> bool:
    return now is None or (was is not None and now >= was)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
