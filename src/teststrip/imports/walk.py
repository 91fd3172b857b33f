"""The pictures of a folder, in order; links are not followed, so nothing outside is read."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from teststrip.errors import ConfigError, StorageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MOST_BYTES = 256 * 2**20
DEEPEST = 64


@dataclass(frozen=True)
class File:
    """A file below the folder. `name`: its path in there, made printable; `mtime_ns`, `size`."""

    path: str
    name: str
    size: int
    mtime_ns: int


@dataclass
class Skipped:
    """What was passed over: links, files that are no pictures by name, folders not readable."""

    links: int = 0
    others: int = 0
    closed: int = 0


def pictures(folder: Path, skipped: Skipped) -> Iterator[File]:
    """Every picture below `folder`, sorted by path. Raises ConfigError if it is no folder."""
    if not folder.is_dir():
        raise ConfigError(f"{folder}: is no folder; name one that holds pictures")
    yield from _below(str(folder), "", skipped, DEEPEST)


def _below(folder: str, at: str, skipped: Skipped, deep: int) -> Iterator[File]:
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError:
        skipped.closed += 1
        return
    for entry in entries:
        name = f"{at}{entry.name}"
        if entry.is_symlink():
            skipped.links += 1
        elif entry.is_dir(follow_symlinks=False):
            if deep and not entry.name.startswith("."):
                yield from _below(entry.path, f"{name}/", skipped, deep - 1)
        elif entry.is_file(follow_symlinks=False) and entry.name.lower().endswith(SUFFIXES):
            told = entry.stat(follow_symlinks=False)
            yield File(entry.path, printable(name), told.st_size, told.st_mtime_ns)
        else:
            skipped.others += 1


def content(file: File) -> bytes:
    """Its bytes. Raises ConfigError for a file that became a link, is too large or unreadable."""
    if file.size > MOST_BYTES:
        raise ConfigError(f"{file.size} bytes; at most {MOST_BYTES} are read")
    try:
        handle = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as opened:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ConfigError("is no plain file")
            data = opened.read(MOST_BYTES + 1)
    except OSError as exc:
        if isinstance(exc, StorageError):
            raise
        raise ConfigError(f"cannot be read: {exc.strerror or exc}") from exc
    if len(data) > MOST_BYTES:
        raise ConfigError(f"more than {MOST_BYTES} bytes")
    return data


def printable(name: str) -> str:
    """A file's name as text that can be stored and shown, whatever bytes it has."""
    plain = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in plain)
