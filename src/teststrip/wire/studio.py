"""The web app's parts: an index of the home's studies, their pictures, evidence and a generator."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.settings import Settings

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis
    from teststrip.protocols import Generator
    from teststrip.studio.index import Index
    from teststrip.studio.parts import Parts
    from teststrip.track.reader import StudyRecord

log = logging.getLogger(__name__)
PLACE = Path("studio")
MOST_ANALYSES = 8
VOTES = "votes.jsonl"


def parts(home: Path, *, in_memory: bool = False) -> "Parts":
    """All parts, with the index up to date; nothing runs in the background yet.

    `in_memory`: leave no index file under `home`.
    """
    from teststrip.studio.index import Index
    from teststrip.studio.parts import Parts
    from teststrip.studio.pictures import Pictures

    index = Index(None if in_memory else home / PLACE / "index.duckdb")
    index.refresh(home)
    return Parts(
        home=home,
        index=index,
        pictures=Pictures(home / PLACE / "thumbs", home, index, Remote(home).png),
        analysis=Analyses(home, index),
        generator=local_generator,
    )


@contextmanager
def opened(home: Path, *, every_s: float = 2.0) -> Iterator["Parts"]:
    """Parts that follow running studies and make thumbnails ahead; all ends with the block."""
    from teststrip.studio.pictures.ahead import Ahead

    made = parts(home)
    ahead = Ahead(made.pictures, made.index)
    try:
        ahead.add([entry.name for entry in made.index.entries()])
        made.index.follow(home, every_s, ahead.add)
        yield made
    finally:
        ahead.stop()
        made.pictures.close()
        made.index.close()


def local_generator() -> "Generator":
    """The engine on this machine, as studies use it. Raises MissingExtra without it."""
    from teststrip.plugins import GENERATORS, load

    here = Settings()
    found: Generator = load("local", GENERATORS, "generator")(
        device=here.device, max_rows=here.max_rows
    )
    return found


class Analyses:
    """A study's evidence by name, with its votes; worked out again when images or votes change."""

    def __init__(self, home: Path, index: "Index") -> None:
        self._home, self._index = home, index
        self._kept: OrderedDict[str, tuple[str, Analysis]] = OrderedDict()
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Lock] = {}

    def __call__(self, name: str) -> "Analysis":
        """Raises StudyError where there is no evidence, or none yet."""
        entry = self._index.entry(name)
        with self._lock:
            busy = self._busy.setdefault(name, threading.Lock())
        with busy:  # one works it out, the others wait for it
            stamp = f"{entry.version}|{_mark(self._home / 'studies' / name / VOTES)}"
            kept = self._kept.get(name)
            if kept is None or kept[0] != stamp:
                kept = stamp, self._analyse(name)
            with self._lock:
                self._kept[name] = kept
                self._kept.move_to_end(name)
                while len(self._kept) > MOST_ANALYSES:
                    self._kept.popitem(last=False)
            return kept[1]

    def _analyse(self, name: str) -> "Analysis":
        from teststrip.evidence.analysis import analyse
        from teststrip.wire.tables import table_of

        found = table_of(name, self._home)
        return analyse(found.table, found.facts, found.votes)


class Remote:
    """Pictures of studies that are in MLflow only, each record opened once."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._records: dict[str, StudyRecord] = {}
        self._lock = threading.Lock()

    def png(self, study: str, key: str) -> bytes:
        """Raises StorageError where the server or the picture is not there."""
        from teststrip.track.reader import open_study

        with self._lock:  # the list of its pictures is asked once, not by each thumbnail
            record = self._records.get(study) or open_study(self._home, study)
            self._records[study] = record
            record.prepare()
        return record.png(key)


def _mark(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_mtime_ns}-{found.st_size}"
