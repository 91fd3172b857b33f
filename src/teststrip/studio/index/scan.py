"""Which studies there are under a home: their folders, their records, and whether they changed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teststrip.study.config import is_name
from teststrip.study.folder import StudyFolder

RECORD, TABLE = "study.json", "images.parquet"
REMOTE = Path("studio") / "remote"


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


class Scanner:
    """Looks again and again; a record is read anew only where its file changed."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[str, dict[str, Any], str]] = {}

    def scan(self, home: Path) -> Iterator[Found]:
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
                found = self._look(folder)
                if found is not None:
                    seen.add(folder.name)
                    yield found

    def _look(self, folder: Path) -> Found | None:
        """None where it is no study's folder."""
        marks = [_mark(folder / RECORD), _mark(folder / TABLE)]
        kept = self._read.get(folder)
        if not marks[0]:
            self._read.pop(folder, None)
            return None
        if kept is None or kept[0] != marks[0]:
            record, fault = _record(folder / RECORD)
            kept = self._read[folder] = marks[0], record, fault
        _, record, fault = kept
        if record.get("state") == "running" and StudyFolder(folder).holder() is None:
            record = record | {"state": "stopped"}
            marks.append("dead")
        return Found(folder.name, folder, "|".join(marks), record, fault)


def _record(path: Path) -> tuple[dict[str, Any], str]:
    """What it holds, or nothing and why."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        return {}, f"{RECORD} cannot be read: {exc}"
    if not isinstance(record, dict):
        return {}, f"{RECORD} is not the record of a study"
    return record, ""


def _mark(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_mtime_ns}-{found.st_size}-{found.st_ino}"
