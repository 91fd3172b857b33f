"""The web app's parts: an index of the home's studies, their pictures, evidence and a generator."""

import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.errors import StorageError, TeststripError
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
PAUSE_S = 10.0
MOST_WARM, MOST_WARM_IMAGES, WARM_AFTER_S, LESS_URGENT = 2, 20_000, 2.0, 10


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
def opened(home: Path, *, every_s: float = 2.0, warm: bool = False) -> Iterator["Parts"]:
    """Parts that follow running studies and make thumbnails ahead; all ends with the block.

    `warm`: also work out the evidence of the newest studies before anybody asks.
    """
    from teststrip.studio.pictures.ahead import Ahead

    made = parts(home)
    ahead = Ahead(made.pictures, made.index)
    warming = Warming(made.analysis, made.index) if warm else None
    try:
        ahead.add([entry.name for entry in made.index.entries()])
        made.index.follow(home, every_s, ahead.add)
        yield made
    finally:
        if warming is not None:
            warming.stop()
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
            stamp = "|".join([entry.version, *(_mark(f / VOTES) for f in self._folders(name))])
            kept = self._kept.get(name)
            if kept is None or kept[0] != stamp:
                kept = stamp, self._analyse(name)
            with self._lock:
                self._kept[name] = kept
                self._kept.move_to_end(name)
                while len(self._kept) > MOST_ANALYSES:
                    self._kept.popitem(last=False)
            return kept[1]

    def _folders(self, name: str) -> tuple[Path, Path]:
        """Where a study is that was run here, and one that was brought from MLflow."""
        from teststrip.studio.index.scan import REMOTE

        return self._home / "studies" / name, self._home / REMOTE / name

    def _analyse(self, name: str) -> "Analysis":
        from teststrip.evidence.analysis import analyse
        from teststrip.studio.index.scan import RECORD
        from teststrip.wire.bringing import KEPT, brought_study
        from teststrip.wire.tables import table_of

        own, brought = self._folders(name)
        is_brought = (brought / KEPT).exists() and not (own / RECORD).exists()
        found = brought_study(brought) if is_brought else table_of(name, self._home)
        return analyse(found.table, found.facts, found.votes)


class Warming:
    """One thread, less urgent than pages: the evidence of the newest studies that have any.

    The first page of evidence then opens as fast as the next. A study that ends later, and one
    of very many images, is worked out when somebody asks.
    """

    def __init__(
        self, analysis: "Callable[[str], Analysis]", index: "Index", first_s: float = WARM_AFTER_S
    ) -> None:
        """It begins after `first_s`: the first page goes first."""
        self._analysis, self._index, self._first_s = analysis, index, first_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="teststrip-warm")
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """True once all is worked out, False after `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End after the study it is at; harmless twice."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        with suppress(OSError, AttributeError):  # this thread alone, where the system can
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), LESS_URGENT)
        self._stopped.wait(self._first_s)
        some = [e for e in self._index.entries() if e.paired and e.images <= MOST_WARM_IMAGES]
        for entry in some[:MOST_WARM]:
            if self._stopped.is_set():
                return
            try:
                self._analysis(entry.name)
            except (TeststripError, OSError) as exc:  # told to whoever opens its page
                log.info("evidence of %s is not ready: %s", entry.name, exc)


class Remote:
    """Pictures of studies that are in MLflow only. A record is opened once for each table.

    After a failure nothing is asked for a while: each picture of a page would wait for its own.
    """

    def __init__(self, home: Path, pause_s: float = PAUSE_S) -> None:
        self._home, self._pause_s = home, pause_s
        self._records: dict[str, tuple[str, StudyRecord]] = {}
        self._lock = threading.Lock()
        self._silent_until, self._why = 0.0, ""

    def png(self, study: str, key: str) -> bytes:
        """Raises StorageError where the server or the picture is not there."""
        from teststrip.track.reader import NoPicture

        try:
            return self._record(study).png(key)
        except NoPicture:
            raise
        except StorageError as exc:
            with self._lock:
                if time.monotonic() >= self._silent_until:
                    self._silent_until, self._why = time.monotonic() + self._pause_s, str(exc)
            raise

    def _record(self, study: str) -> "StudyRecord":
        from teststrip.studio.index.scan import REMOTE, TABLE
        from teststrip.track.reader import open_study

        mark = _mark(self._home / REMOTE / study / TABLE)  # brought again: it has more pictures
        with self._lock:  # the list of its pictures is asked once, not by each thumbnail
            if time.monotonic() < self._silent_until:
                raise StorageError(self._why)
            kept = self._records.get(study)
            if kept is None or kept[0] != mark:
                record = open_study(self._home, study)
                record.prepare()
                kept = self._records[study] = mark, record
            return kept[1]


def _mark(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return ""
    return f"{found.st_mtime_ns}-{found.st_size}"
