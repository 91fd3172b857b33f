"""A file of JSON lines that any process may append to: locked, whole lines, never rewritten."""

import fcntl
import json
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from teststrip.errors import StorageError
from teststrip.files import storage_error

log = logging.getLogger(__name__)
Row = dict[str, Any]


def read(path: Path) -> list[Row]:
    """The rows in the order they came; a torn last line is none. Raises StorageError."""
    return parsed(path, whole(path))


def whole(path: Path) -> bytes:
    """The file's whole lines as they are; nothing where there is no file. Raises StorageError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as exc:
        raise StorageError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    return data[: data.rfind(b"\n") + 1]


def append(path: Path, new_of: Callable[[list[Row]], Iterable[Mapping[str, Any]]]) -> int:
    """Write what `new_of` makes of the rows that are there; returns how many. All or none of them.

    No other process appends between the reading and the writing. Raises StorageError when the disk
    is full or the folder may not be written to, and whatever `new_of` raises.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as exc:
        raise storage_error(path, exc) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # freed by the kernel, however this process ends
        data = path.read_bytes()
        end = data.rfind(b"\n") + 1  # a torn last line is what a crash left
        new = list(new_of(parsed(path, data[:end])))
        if new or end < len(data):
            _write(handle, end, new)
    except OSError as exc:
        raise storage_error(path, exc) from exc
    finally:
        os.close(handle)
    return len(new)


def parsed(path: Path, data: bytes) -> list[Row]:
    """Lines as rows; one that is no object is left out, with a warning."""
    found = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            found.append(row)
        else:
            log.warning("%s line %d is damaged and left out", path, number)
    return found


def _write(handle: int, end: int, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows after byte `end`; if that fails, the file is as long as it was."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    os.ftruncate(handle, end)
    try:
        while lines:
            lines = lines[os.write(handle, lines) :]
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, end)
        raise
