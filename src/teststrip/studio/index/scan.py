"""Which studies there are under a home: their folders, their records, and whether they changed."""

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teststrip.study.config import is_name

log = logging.getLogger(__name__)
RECORD, TABLE, ROWS = "study.json", "images.parquet", "rows.jsonl"
REMOTE = Path("studio") / "remote"
STILL_S = 60.0


@dataclass(frozen=True)
class Found:
    """A study's folder. `stamp` changes with its files; `fault`: why its record cannot be read."""

    name: str
    folder: Path
    stamp: str
    record: dict[str, Any] = field(default_factory=dict)
    fault: str = ""

    @property
    def table(self) -> Path:
        """Its images, one row each; may not be there yet."""
        return self.folder / TABLE


def scan(home: Path) -> Iterator[Found]:
    """Every study that was run here, then those brought in from MLflow that are not here."""
    seen = set()
    for place in (home / "studies", home / REMOTE):
        try:
            folders = sorted(path for path in place.iterdir() if path.is_dir())
        except OSError:
            continue
        for folder in folders:
            if folder.name in seen or not is_name(folder.name):
                continue
            found = _look(folder)
            if found is not None:
                seen.add(folder.name)
                yield found


def _look(folder: Path) -> Found | None:
    """None where it is no study's folder."""
    marks = [_mark(folder / RECORD), _mark(folder / TABLE)]
    if not marks[0]:
        return None
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        fault = "" if isinstance(record, dict) else f"{RECORD} is not the record of a study"
    except FileNotFoundError:  # it went away just now
        return None
    except (OSError, ValueError) as exc:
        record, fault = {}, f"{RECORD} cannot be read: {exc}"
    record = record if not fault else {}
    if record.get("state") == "running" and not _is_alive(folder):
        record["state"] = "stopped"
        marks.append("dead")
    return Found(folder.name, folder, "|".join(marks), record, fault)


def _mark(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"


def _is_alive(folder: Path) -> bool:
    """Is a process at it? Its rows were written just now, or the one that locked it still runs.

    The lock itself is not tried: holding it for an instant could turn away a run that starts.
    """
    try:
        if time.time() - (folder / ROWS).stat().st_mtime < STILL_S:
            return True
    except OSError:
        pass
    try:
        pid = int((folder / "lock").read_text().removeprefix("pid "))
        os.kill(pid, 0)
    except PermissionError:
        return True  # it runs, as somebody else
    except (OSError, ValueError, OverflowError):
        return False
    return True
