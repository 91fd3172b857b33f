"""A search in MLflow: one parent run, each trial's training run below it.

What a server that is away is not told waits in the search's box, from which any trial's process
or a later one opens the run.
"""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError, StudyError
from teststrip.track import names
from teststrip.track.connection import Connection, sent_once
from teststrip.track.faults import StoreAway
from teststrip.track.outbox.box import SEARCHES, Store
from teststrip.track.outbox.outage import Outage
from teststrip.track.runs import find_run, opened_run, send_params
from teststrip.train.tune.folder import TuneFolder

if TYPE_CHECKING:
    from teststrip.train.tune.config import TuneConfig
    from teststrip.train.tune.report import TuneReport

KIND, TUNE = "tuning", "teststrip.tune"
LATER = "search:"  # a run that is not open yet, by the name of its search
SLOT = "search"
_ENDED = {"finished": "FINISHED", "stopped": "KILLED"}
log = logging.getLogger(__name__)


class TuneRecord:
    """The parent run of a search.

    `start` raises StorageError where the store refuses, not where it is away; later nothing is
    raised but by a store of this machine and by a full disk.
    """

    def __init__(self, home: Path, name: str, params: dict[str, Any] | None = None) -> None:
        self._connection = Connection(home)
        self._name, self._params = name, params or {}
        self._folder = TuneFolder(home / "tunes" / name)
        store = Store(home.resolve(), self._connection.shown, self._connection.experiment)
        self._box = store.box(SEARCHES, name)
        self._outage = Outage(f"search {name!r}", self._connection.shown, self._box.path)
        self._run_id = ""

    @classmethod
    def of(cls, home: Path, config: "TuneConfig") -> "TuneRecord":
        """The record of a search that is run now."""
        return cls(home, config.name, names.flat(config.resolved()))

    def start(self) -> str:
        """Open the run, or find the one it had before it was killed.

        Returns its id, or what `parent_run` makes of it later.
        """
        try:
            with self._alone():
                return self._open()
        except StoreAway as exc:
            self._wait({}, exc)
            return f"{LATER}{self._name}"

    def finish(self, report: "TuneReport") -> None:
        """The best trial, how many ended how, the report as files; the run is closed."""
        best = report.best.name if report.best is not None else ""
        numbers = names.finite(_numbers(report))
        self._end({"state": report.state, "numbers": numbers, "best": best, "files": True})

    def end(self, state: str, why: str = "") -> None:
        """Close the run: `finished`, `stopped` or `failed`."""
        self._end({"state": state, "why": why})

    def deliver(self) -> int:
        """Say what an earlier process could not; how many things. Raises StorageError where the
        store is away or refuses, StudyError where another process delivers."""
        with self._box.delivering():
            kept = self._box.entry(SLOT)
            if kept is None:
                return 0
            self._open()
            if ending := kept.data["ending"]:
                self._tell(ending)
            self._box.drop(kept)
            return 1 + bool(ending)

    def run_id(self) -> str:
        """The run's id, opened if it is not; for a trial. Raises StorageError."""
        try:
            with self._alone():
                return self._found() or self._open()
        except StudyError as exc:  # another trial is opening it
            raise StoreAway(str(exc)) from exc

    def _alone(self) -> AbstractContextManager[None]:
        """Where nothing waits nobody else speaks for this search."""
        return self._box.delivering() if self._box.waits() else nullcontext()

    def _found(self) -> str:
        """The run as it is: one that has ended stays so."""
        with self._connection.border(f"find search {self._name!r}"):
            run = find_run(self._connection, {names.KIND: KIND, TUNE: self._name})
        return str(run.info.run_id) if run is not None else ""

    def _open(self) -> str:
        kept = self._box.entry(SLOT)
        params = self._params or (kept.data["params"] if kept is not None else {})
        with self._connection.border(f"open search {self._name!r}"), sent_once():
            own = {names.KIND: KIND, TUNE: self._name}
            run = opened_run(self._connection, self._name, own, {})
            self._run_id = str(run.info.run_id)
            send_params(self._connection, self._run_id, params, run.data.params)
        return self._run_id

    def _end(self, ending: dict[str, Any]) -> None:
        try:
            with self._alone():
                if not self._run_id or self._box.waits():
                    self._open()
                self._tell(ending)
                if (kept := self._box.entry(SLOT)) is not None:
                    self._box.drop(kept)
        except (StorageError, StudyError) as exc:
            if self._connection.is_local:
                raise
            self._wait(ending, exc)
            log.warning(
                "search %s is not complete in MLflow (%s). The rest is delivered by: "
                "teststrip track outbox --deliver",
                self._name,
                self._outage.reason,
            )

    def _wait(self, ending: dict[str, Any], exc: Exception) -> None:
        self._outage.begins(exc)
        self._box.put(SLOT, {"params": self._params, "ending": ending})

    def _tell(self, ending: dict[str, Any]) -> None:
        with self._connection.border(f"finish search {self._name!r}"):
            client = self._connection.client
            known = client.get_run(self._run_id).data.metrics
            for name, value in ending.get("numbers", {}).items():
                if known.get(name) != value:
                    client.log_metric(self._run_id, name, value)
            if ending.get("best"):
                client.set_tag(self._run_id, "teststrip.best", ending["best"])
            if ending.get("files"):
                for path in (self._folder.report, self._folder.page, self._folder.best):
                    if path.is_file():
                        client.log_artifact(self._run_id, str(path))
            client.set_tag(self._run_id, names.STATUS, ending["state"])
            if why := ending.get("why"):
                client.set_tag(self._run_id, "teststrip.why", names.fitted(why, names.MAX_TAG))
            client.set_terminated(self._run_id, _ENDED.get(ending["state"], "FAILED"))


def parent_run(home: Path, parent: str | None) -> str | Callable[[], str] | None:
    """What `TuneRecord.start` gave, for a trial's tracker: a run's id, or what opens that run."""
    if parent is None or not parent.startswith(LATER):
        return parent or None
    return partial(_opened, home, parent.removeprefix(LATER))


def _opened(home: Path, name: str) -> str:
    return TuneRecord(home, name).run_id()


def _numbers(report: "TuneReport") -> dict[str, Any]:
    found: dict[str, Any] = {
        f"trials_{state}": report.count(state) for state in ("finished", "pruned", "failed")
    }
    if report.repeats:
        value = report.repeats[0].value
        found |= {"best": value.mean, "best_low": value.low, "best_high": value.high}
    elif report.best is not None:
        found["best"] = report.best.value
    return found
