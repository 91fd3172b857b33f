"""Thumbnails of new studies, made in the background before anybody asks."""

import logging
import os
import queue
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.errors import TeststripError
from teststrip.files import write_atomic

if TYPE_CHECKING:
    from teststrip.studio.index import Index
    from teststrip.studio.pictures.pictures import Pictures

log = logging.getLogger(__name__)
AHEAD = (96, 192)
MOST_AHEAD = 20_000
LESS_URGENT = 10


class Ahead:
    """One thread, less urgent than pages. A study whose pictures come over the net is left out."""

    def __init__(self, pictures: "Pictures", index: "Index") -> None:
        self._pictures, self._index = pictures, index
        self._wanted: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._idle = threading.Event()
        self._done: dict[str, set[str]] = {}
        self._thread = threading.Thread(target=self._run, name="teststrip-ahead", daemon=True)
        self._thread.start()

    def add(self, names: list[str]) -> None:
        """Make what these studies lack, by and by."""
        for name in names:
            self._idle.clear()
            self._wanted.put(name)

    def wait(self, seconds: float) -> bool:
        """True once nothing is left to make, False after `seconds`."""
        return self._idle.wait(seconds)

    def stop(self) -> None:
        """End the thread after the picture it is at; harmless twice."""
        self._stopped.set()
        self._wanted.put(None)
        self._thread.join()

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # this thread alone, where the system can
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LESS_URGENT)
        while (name := self._wanted.get()) is not None and not self._stopped.is_set():
            try:
                self._make(name)
            except TeststripError as exc:
                log.info("thumbnails of %s are made when asked for: %s", name, exc)
            except Exception:
                log.exception("thumbnails of %s are made when asked for", name)
            if self._wanted.empty():
                self._idle.set()

    def _make(self, name: str) -> None:
        mark = self._pictures.cache / "ahead" / name
        version = self._index.entry(name).version
        if self._pictures.store.is_remote(name) or _text(mark) == version:
            return
        rows = self._index.query(
            f"SELECT image_key FROM {self._index.table(name)} "  # noqa: S608
            "WHERE coalesce(png, '') <> '' ORDER BY image_id LIMIT ?",
            [MOST_AHEAD],
        )
        done = self._done.setdefault(name, set())
        for row in rows:
            key = str(row["image_key"])
            if self._stopped.is_set():
                return
            if key in done:
                continue
            done.add(key)
            try:
                self._pictures.make(name, key, AHEAD)
            except TeststripError as exc:  # a page says it where the picture would be
                log.debug("%s: %s", name, exc)
        write_atomic(mark, version.encode())


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
