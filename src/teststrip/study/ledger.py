"""The ledger: which images were made, what they cost and what they scored. Survives kill -9.

A picture on disk is the truth of "made": it is written whole or not at all. Its numbers are
appended to `rows.jsonl` just *before* it appears, so a crash in between leaves a line without a
picture, which means nothing. A torn last line is cut off when the ledger is opened again.
"""

import json
import logging
import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teststrip.errors import StorageError, TeststripError
from teststrip.files import storage_error, write_atomic
from teststrip.recipe import Request
from teststrip.records import Generation
from teststrip.study.folder import StudyFolder

log = logging.getLogger(__name__)


@dataclass
class Entry:
    """What is known of one image."""

    made: Mapping[str, Any] | None = None
    scores: Mapping[str, float | None] | None = None
    reason: str = ""

    @property
    def is_failure(self) -> bool:
        """Was it tried and could not be made?"""
        return self.made is None and self.scores is None and bool(self.reason)


class Ledger:
    """Reads and appends; one process at a time, any thread (appends are single writes)."""

    def __init__(self, folder: StudyFolder, *, writable: bool = True) -> None:
        self._folder = folder
        self._entries: dict[str, Entry] = {}
        self._file: int | None = None
        self._read()
        if writable:
            try:
                self._file = os.open(folder.rows, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
                os.ftruncate(self._file, self._whole)
            except OSError as exc:
                raise storage_error(folder.rows, exc) from exc

    def close(self) -> None:
        """Close the file; harmless twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def path_of(self, key: str) -> str:
        """The picture's path inside the study folder."""
        return f"images/{key[:2]}/{key}.png"

    def entry(self, key: str) -> Entry:
        """What is known of an image; empty where nothing is."""
        return self._entries.get(key) or Entry()

    def reasons(self) -> Counter[str]:
        """Why images or scores failed, and how many of them did."""
        return Counter(entry.reason for entry in list(self._entries.values()) if entry.reason)

    def is_made(self, key: str) -> bool:
        """Is the picture there?"""
        return (self._folder.path / self.path_of(key)).exists()

    def png(self, key: str) -> bytes:
        """The picture's bytes."""
        path = self._folder.path / self.path_of(key)
        try:
            return path.read_bytes()
        except OSError as exc:
            raise storage_error(path, exc) from exc

    def save(self, generation: Generation, started: float, finished: float) -> None:
        """Keep a picture and its numbers (times in seconds since 1970)."""
        key = generation.image_key
        made = {
            "seconds": generation.seconds if math.isfinite(generation.seconds) else None,
            "model_calls": generation.model_calls,
            "started": round(started, 3),
            "finished": round(finished, 3),
            "facts": dict(generation.facts),
        }
        self._append({"key": key, "made": made})
        write_atomic(self._folder.path / self.path_of(key), generation.png)
        self._entries[key] = Entry(made=made)

    def fail(self, key: str, reason: str) -> None:
        """Note that an image could not be made."""
        self._append({"key": key, "failed": reason})
        self._entries[key] = Entry(reason=reason)

    def judge(self, key: str, scores: Mapping[str, float], reason: str) -> None:
        """Keep an image's scores; NaN is written as null, with the reason."""
        plain = {c: (None if math.isnan(v) else v) for c, v in scores.items()}
        self._append({"key": key, "scores": plain, "reason": reason})
        entry = self.entry(key)
        self._entries[key] = Entry(made=entry.made, scores=plain, reason=reason)

    def generation(self, key: str, request: Request) -> Generation:
        """A finished image, read back for scoring."""
        png = self.png(key)
        made = self.entry(key).made or _from_png(png)
        if self.entry(key).made is None:
            self._entries[key] = Entry(made=made)
        return Generation(
            request=request,
            image_key=key,
            png=png,
            seconds=math.nan if made["seconds"] is None else made["seconds"],
            model_calls=made["model_calls"],
            facts=made["facts"],
        )

    def _append(self, line: Mapping[str, Any]) -> None:
        if self._file is None:
            raise StorageError(f"{self._folder.rows}: was opened to be read only")
        data = (json.dumps(line, ensure_ascii=False, default=str) + "\n").encode()
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except OSError as exc:
            raise storage_error(self._folder.rows, exc) from exc

    def _read(self) -> None:
        try:
            data = self._folder.rows.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as exc:
            raise storage_error(self._folder.rows, exc) from exc
        self._whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[: self._whole].splitlines(), start=1):
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):
                log.warning("%s line %d is damaged and left out", self._folder.rows, number)

    def _take(self, line: Mapping[str, Any]) -> None:
        entry = self._entries.setdefault(line["key"], Entry())
        if "made" in line:
            self._entries[line["key"]] = Entry(made=line["made"])
        elif "failed" in line:
            self._entries[line["key"]] = Entry(reason=line["failed"])
        else:
            entry.scores, entry.reason = line["scores"], line["reason"]


def _from_png(png: bytes) -> dict[str, Any]:
    """Numbers of a picture whose line was lost: from its own text, or unknown."""
    facts: Mapping[str, Any] = {}
    try:
        from teststrip import png as pictures

        facts = pictures.read(png).facts
    except TeststripError:
        log.warning("a picture's cost is unknown: its line is lost and it carries no text of ours")
    return {
        "seconds": None,
        "model_calls": facts.get("model_calls", 0),
        "started": None,
        "finished": None,
        "facts": dict(facts),
    }
