"""People's votes on a study's images: `votes.jsonl` in its folder, appended to, never rewritten.

Each line is one vote with an `id`. A vote whose id is there already is not written again, so an
import may be repeated, or taken up after a crash. Any process may append while the study runs.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, StorageError
from teststrip.files import storage_error

log = logging.getLogger(__name__)
VOTES = "votes.jsonl"
FIELDS = ("id", "prompt_id", "seed", "left", "right", "choice", "rater")
FAULTS_SHOWN = 20


def stored_votes(folder: Path) -> list[dict[str, Any]]:
    """The votes in a study's folder, in the order they came. Raises StorageError."""
    try:
        data = (folder / VOTES).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise StorageError(f"{folder / VOTES}: cannot be read: {exc.strerror or exc}") from exc
    return _parsed(folder / VOTES, data[: data.rfind(b"\n") + 1])


def append_votes(folder: Path, votes: Iterable[Mapping[str, Any]]) -> int:
    """Write the votes that are not there yet; returns how many those were. All of them or none.

    `votes`: mappings with `FIELDS`. Raises ConfigError if an id is there with another vote,
    StorageError when the disk is full or the folder may not be written to.
    """
    path = folder / VOTES
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as exc:
        raise storage_error(path, exc) from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # freed by the kernel, however this process ends
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1  # a torn last line is what a crash left
        known = {row["id"]: row for row in _parsed(path, data[:whole])}
        new, faults = [], []
        for vote in votes:
            row = {name: vote[name] for name in FIELDS}
            there = known.setdefault(row["id"], row)
            if there is row:
                new.append(row)
            elif there != row:
                faults.append(f"id {row['id']!r}: is there with {_differing(there, row)}")
        if faults:
            more = len(faults) - FAULTS_SHOWN
            shown = faults[:FAULTS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
            raise ConfigError(f"{path}: {len(faults)} votes contradict stored ones", shown)
        _write(handle, whole, new)
    except OSError as exc:
        raise storage_error(path, exc) from exc
    finally:
        os.close(handle)
    return len(new)


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


def _parsed(path: Path, data: bytes) -> list[dict[str, Any]]:
    found = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            found.append({name: row[name] for name in FIELDS})
        except (ValueError, KeyError, TypeError):
            log.warning("%s line %d is damaged and left out", path, number)
    return found


def _differing(there: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {there[n]!r}, not {row[n]!r}" for n in FIELDS if there[n] != row[n])
