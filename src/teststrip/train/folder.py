"""A run's folder: where everything of it lies, who may write to it, and how it stands.

run.json        what is trained, how, and how it stands; see docs/runs-format.md
train.yaml      the file as it was given
metrics.jsonl   a line for each step that is logged
held_out.jsonl  a line for each held-out picture and measuring
manifest.json   every picture that it is trained on, by content
progress.json   how far it is, while it runs
checkpoints/    one folder per checkpoint; see checkpoints.py
samples/        the validation images
stop            is there while somebody asks the process that runs it to stop
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

FORMAT = 1
LOCK_WAIT_S = 0.5  # longer than anybody looks at the lock, see `holder`


class RunFolder:
    """Paths and state of one training run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.json = path / "run.json"
        self.yaml = path / "train.yaml"
        self.metrics = path / "metrics.jsonl"
        self.held_out = path / "held_out.jsonl"
        self.manifest = path / "manifest.json"
        self.progress = path / "progress.json"
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        self.stop = path / "stop"
        self._lock = path / "lock"

    @classmethod
    def of(cls, home: Path, name: str) -> "RunFolder":
        """The folder of run `name` under TESTSTRIP_HOME `home`."""
        return cls(home / "runs" / name)

    def exists(self) -> bool:
        """Was a run started here?"""
        return self.json.exists()

    def read(self) -> dict[str, Any]:
        """The content of run.json. Raises StudyError if there is none or it is damaged."""
        try:
            data = json.loads(self.json.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StudyError(
                f"no training run {self.name!r} in {self.path.parent}; "
                "start one with `teststrip train run FILE`"
            ) from None
        except (OSError, ValueError) as exc:
            raise StudyError(f"{self.json}: cannot be read: {exc}") from exc
        if not isinstance(data, dict) or "state" not in data:
            raise StudyError(f"{self.json}: is not the record of a training run")
        return data

    def write(self, **changes: Any) -> None:
        """Merge `changes` into run.json; None takes a key out. Raises StorageError."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        old: Mapping[str, Any] = self.read() if self.exists() else {"created": now}
        merged = {"format": FORMAT, **old, **changes, "changed": now}
        data = {key: value for key, value in merged.items() if value is not None}
        write_atomic(self.json, json.dumps(data, indent=1, ensure_ascii=False).encode())

    def holder(self) -> int | None:
        """The process id of whoever runs it now; 0 if it is not known yet, None: nobody."""
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
        """Ask the process that runs it to stop after the next step, with a checkpoint.

        Raises StudyError if nobody runs it.
        """
        if self.holder() is None:
            raise StudyError(f"training run {self.name!r} is not running")
        write_atomic(self.stop, who.encode())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run alone. The kernel frees the lock when a process dies, however it dies.

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
                    f"training run {self.name!r} is held by another process "
                    f"({os.pread(handle, 32, 0).decode(errors='replace').strip() or 'unknown'}); "
                    "wait for it or stop it first"
                ) from exc
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()}\n".encode(), 0)
            self.stop.unlink(missing_ok=True)  # it was meant for an earlier process
            yield
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
