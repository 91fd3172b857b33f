"""A folder that one process at a time works in: who holds it, and how it is asked to stop.

lock   flocked by the process that works in the folder; holds its id
stop   is there while somebody asks that process to stop
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from teststrip.errors import StudyError
from teststrip.files import storage_error, write_atomic

WAIT_S = 0.5  # longer than anybody looks at the lock, see `holder`


class FolderLock:
    """Lock and stop file of `folder`; `what` names it in messages, such as "study 'owls'"."""

    def __init__(self, folder: Path, what: str) -> None:
        self.stop = folder / "stop"
        self._folder, self._what = folder, what
        self._path = folder / "lock"

    def holder(self) -> int | None:
        """The process id of whoever works in it now; 0 if it is not known yet, None: nobody.

        Two who look at once do not disturb each other, nor does who looks a process that starts.
        """
        try:
            handle = os.open(self._path, os.O_RDONLY)
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
        """Ask the process that works in it to stop; it keeps what is made.

        A file and not a signal: a process id may be another's by now, or of another machine.
        Raises StudyError if nobody works in it.
        """
        if self.holder() is None:
            raise StudyError(f"{self._what} is not running")
        write_atomic(self.stop, who.encode())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder alone. The kernel frees the lock when a process dies, however it dies.

        Raises StudyError if another process holds it, StorageError if the folder is read-only.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as exc:
            raise storage_error(self._folder, exc) from exc
        try:
            try:
                _take(handle)
            except OSError as exc:
                raise StudyError(
                    f"{self._what} is being run by another process "
                    f"({os.pread(handle, 32, 0).decode(errors='replace').strip() or 'unknown'}); "
                    "wait for it or stop it first"
                ) from exc
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()}\n".encode(), 0)
            self.stop.unlink(missing_ok=True)  # it was meant for an earlier process
            yield
        except OSError as exc:
            if exc.filename is None:
                raise
            raise storage_error(Path(str(exc.filename)), exc) from exc
        finally:
            os.close(handle)


@contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Alone among those that hold `path` for the moment of a change; waits for whoever does.

    Kept for its owner alone. Raises StorageError if it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as exc:
        raise storage_error(path, exc) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # freed by the kernel, however this process ends
        yield
    finally:
        os.close(handle)


def _take(handle: int) -> None:
    """Lock alone; waits a moment for those who only look. Raises OSError if it is held."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
