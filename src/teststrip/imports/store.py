"""The study folder of an import: pictures by content, and a ledger to go on from.

images/ab/<key>.png   the picture, byte for byte (also .jpg, .webp); key: 24 digits of its SHA-256
imported.jsonl        a line for each file that was looked at
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from teststrip.files import storage_error, write_atomic
from teststrip.imports.found import Found
from teststrip.imports.walk import File

log = logging.getLogger(__name__)
LEDGER = "imported.jsonl"


@dataclass
class Kept:
    """One picture of the import. `file`: its name where it was first seen."""

    key: str
    file: str
    png: str
    width: int
    height: int
    found: Found
    scores: dict[str, float | None] = field(default_factory=dict)
    reason: str = ""


class Store:
    """Pictures and ledger of one import; one process at a time (see StudyFolder.locked)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kept: dict[str, Kept] = {}
        self.broken: dict[str, str] = {}
        self.same: dict[str, str] = {}
        self._seen: dict[str, tuple[int, int]] = {}
        self._read()
        try:
            self._file: IO[bytes] = (folder / LEDGER).open("ab", buffering=0)
            self._file.truncate(self._whole)
        except OSError as exc:
            raise storage_error(folder / LEDGER, exc) from exc

    def close(self) -> None:
        """Close the ledger."""
        self._file.close()

    def knows(self, file: File) -> bool:
        """Was this very file, unchanged since, looked at before?"""
        return self._seen.get(file.name) == (file.size, file.mtime_ns)

    def keep(self, file: File, data: bytes, kept: Kept, *, link: bool) -> None:
        """Copy (or hard-link) a picture and note it."""
        path = self.folder / kept.png
        if not path.exists() and not (link and _linked(file.path, path, data)):
            write_atomic(path, data)
        self.kept[kept.key] = kept
        self._append(file, kept=asdict(kept))

    def note_same(self, file: File, key: str) -> None:
        """The same picture under another name."""
        self.same[file.name] = key
        self._append(file, same=key)

    def note_broken(self, file: File, reason: str) -> None:
        """A file that is no picture."""
        self.broken[file.name] = reason
        self._append(file, broken=reason)

    def judge(self, key: str, scores: Mapping[str, float | None], reason: str) -> None:
        """Scores of a picture; what cannot be judged is null, with the reason."""
        self.kept[key].scores |= scores
        self.kept[key].reason = reason
        self._append(None, key=key, scores=dict(scores), reason=reason)

    def picture(self, key: str) -> bytes:
        """Its bytes. Raises StorageError where it vanished."""
        path = self.folder / self.kept[key].png
        try:
            return path.read_bytes()
        except OSError as exc:
            raise storage_error(path, exc) from exc

    def _append(self, file: File | None, **line: Any) -> None:
        if file is not None:
            self._seen[file.name] = (file.size, file.mtime_ns)
            line |= {"file": file.name, "size": file.size, "mtime_ns": file.mtime_ns}
        try:
            self._file.write((json.dumps(line, ensure_ascii=False) + "\n").encode())
        except OSError as exc:
            raise storage_error(self.folder / LEDGER, exc) from exc

    def _read(self) -> None:
        try:
            data = (self.folder / LEDGER).read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as exc:
            raise storage_error(self.folder / LEDGER, exc) from exc
        self._whole = data.rfind(b"\n") + 1  # a line that was cut short means nothing
        for number, line in enumerate(data[: self._whole].split(b"\n")[:-1], start=1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                log.warning("%s line %d is damaged and left out", self.folder / LEDGER, number)

    def _take(self, line: Mapping[str, Any]) -> None:
        if "scores" in line:
            if line["key"] in self.kept:
                self.kept[line["key"]].scores |= line["scores"]
                self.kept[line["key"]].reason = line["reason"]
            return
        if "kept" in line:
            raw = dict(line["kept"])
            kept = Kept(**(raw | {"found": Found(**raw["found"])}))
            if not (self.folder / kept.png).exists():
                return  # the picture is lost: its file is looked at again
            self.kept[kept.key] = kept
        elif "same" in line:
            self.same[line["file"]] = line["same"]
        else:
            self.broken[line["file"]] = line["broken"]
        self._seen[line["file"]] = (line["size"], line["mtime_ns"])


def key_of(data: bytes) -> str:
    """The name of a picture by its content."""
    return hashlib.sha256(data).hexdigest()[:24]


def _linked(source: str, target: Path, data: bytes) -> bool:
    """A hard link saves the space; where the disk has none, or it is another file, we copy."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target, follow_symlinks=False)
        if target.stat().st_size == len(data) and not target.is_symlink():
            return True
        target.unlink()
    except OSError:
        return False
    return False
