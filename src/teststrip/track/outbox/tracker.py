"""StudyTracker: a study's record in MLflow, or on disk for as long as MLflow is away.

What is healthy goes straight to MLflow. Once a call has no answer, that record and all that follow
wait in the study's box and are delivered in order, a few seconds' worth with each later call and
all at the end. After a fault everything known of the store is forgotten and looked up again, so a
run whose answer was lost is found by its tags and not made once more.
"""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from teststrip.errors import StorageError, StudyError
from teststrip.recipe import Recipe
from teststrip.track.connection import Connection, sent_once
from teststrip.track.faults import StoreAway, StoreRefused
from teststrip.track.mlflow import MlflowTracker
from teststrip.track.outbox import said
from teststrip.track.outbox.box import STUDIES, Box, Data, Entry, Store
from teststrip.track.outbox.doubles import remove_doubles
from teststrip.track.outbox.outage import Outage

log = logging.getLogger(__name__)
SLICE_S = 10.0  # of a running study's time, for records that wait


class StudyTracker:
    """Implements `teststrip.protocols.Tracker`: MlflowTracker with an outbox before it.

    A store of this machine is written to directly. Otherwise only the first call of a process
    raises StorageError, where the store answers and refuses (log-in, host, certificate): that is
    no outage. Later nothing is raised but for a full disk. Run ids are empty while the run waits.
    One thread at a time; several processes may deliver at once.
    """

    def __init__(self, home: Path, experiment: str = "teststrip") -> None:
        self._home, self._experiment = home.resolve(), experiment
        self._tracker: MlflowTracker | None = MlflowTracker(home, experiment)
        self._connection: Connection = self._tracker.connection
        self._store = Store(self._home, self._connection.shown, experiment)
        self._was_reached = False
        self._outages: dict[str, Outage] = {}
        self._configs: dict[str, Data] = {}
        self._delivered: dict[str, int] = {}  # how many records that had waited
        self._told: dict[str, int] = {}  # for how many of them it was said

    @property
    def uri(self) -> str:
        """Where the record goes, without any password."""
        return self._connection.shown

    def start_study(self, name: str, config: Mapping[str, Any]) -> str:
        """Open the study's run; its id, empty while the store is away."""
        self._configs[name] = {"config": dict(config)}
        return self._do(
            name, said.START, self._configs[name], None, lambda t: t.start_study(name, config)
        )

    def log_recipe(  # noqa: PLR0917 - the protocol's shape
        self,
        name: str,
        recipe: Recipe,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        images: Mapping[str, bytes],
        status: str,
    ) -> str:
        """Record a recipe; its run's id, empty while the store is away."""
        data = {
            "recipe": recipe.model_dump(mode="json"),
            "params": dict(params),
            "metrics": dict(metrics),
            "status": status,
        }
        return self._do(
            name,
            said.recipe_slot(recipe),
            data,
            images,
            lambda t: t.log_recipe(name, recipe, params, metrics, images, status),
        )

    def log_evidence(self, name: str, metrics: Mapping[str, Mapping[str, float]]) -> None:
        """Add each recipe's evidence: `recipe_id` -> metrics."""
        data = {"metrics": {key: dict(numbers) for key, numbers in metrics.items()}}
        self._do(name, said.EVIDENCE, data, None, lambda t: t.log_evidence(name, metrics))

    def finish_study(
        self,
        name: str,
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
        status: str,
    ) -> None:
        """Record summary and files; close the run. Whatever waits is delivered now, if it can."""
        data = {"metrics": dict(metrics), "status": status}
        self._do(
            name,
            said.FINISH,
            data,
            files,
            lambda t: t.finish_study(name, metrics, files, status),
            at_end=True,
        )

    def waiting(self, name: str) -> int:
        """How many records of a study wait on disk."""
        return len(self._box(name).entries())

    def say_waiting(self, name: str) -> None:
        """One line at the end of a command, if something still waits."""
        if count := self.waiting(name):
            refused = [entry.reason for entry in self._box(name).entries() if entry.reason]
            why = self._outage(name).reason or (refused[0] if refused else "")
            log.warning(
                "%d record%s of study %r wait%s for MLflow at %s%s. They are delivered by the "
                "next command on this study, or by: teststrip track outbox --deliver",
                count,
                "" if count == 1 else "s",
                name,
                "s" if count == 1 else "",
                self.uri,
                f" ({why})" if why else "",
            )

    def deliver(self, name: str) -> int:
        """Deliver all that waits for a study now; how many records. Raises StorageError where
        the store is away or refuses, or where another process is at it."""
        box = self._box(name)
        if not box.waits():
            return 0
        outage = self._outage(name)
        before = self._delivered.get(name, 0)
        if not self._connection.answers():
            raise StoreAway(f"MLflow at {self.uri}: does not answer; {_waits(box)}")
        done = self._take(name, box, time_s=None)
        if box.waits():
            why = outage.reason or next((e.reason for e in box.entries() if e.reason), "")
            if not done and not why:
                why = "another process is delivering them"
            raise StorageError(f"{_waits(box)}: {why}")
        return self._delivered.get(name, 0) - before

    def is_needed(self, name: str, what: str) -> None:
        """For `what`, which no record on disk can stand for: delivers all that waits for the study.

        Raises StorageError where the store is away or something is left.
        """
        if self._connection.is_local:
            return
        try:
            self.deliver(name)
        except StorageError as exc:
            raise StorageError(f"{what} needs the tracking server: {exc}") from exc
        if not self._connection.answers():
            raise StoreAway(
                f"{what} needs the tracking server: MLflow at {self.uri} does not answer; nothing "
                "was changed, do it again when it is back"
            )

    def _do(
        self,
        name: str,
        slot: str,
        data: Data,
        files: Mapping[str, bytes] | None,
        call: Callable[[MlflowTracker], str | None],
        *,
        at_end: bool = False,
    ) -> str:
        if self._connection.is_local:
            return call(self._mlflow()) or ""
        box = self._box(name)
        doubtful = slot == said.START and box.is_in_doubt
        if self._tracker is not None and not doubtful and not box.waits():
            try:
                return self._once(lambda: call(self._mlflow())) or ""
            except StorageError as exc:
                self._failed(name, box, exc)
        if slot != said.START and name in self._configs and box.entry(said.START) is None:
            said.put(box, said.START, self._configs[name])
        said.put(box, slot, data, files)
        outage = self._outage(name)
        if not at_end and not outage.is_due():
            return ""
        if not outage.answers(self._connection):
            return ""
        found = self._take(name, box, None if at_end else SLICE_S, slot)
        return found if isinstance(found, str) else ""

    def _take(self, name: str, box: Box, time_s: float | None, wanted: str = "") -> "str | bool":
        """Deliver for so long; the run id of slot `wanted`, False where it was not delivered."""
        try:
            with box.delivering():
                return self._deliver(name, box, time_s, wanted)
        except StudyError:  # another process delivers: nothing is lost, nothing is due here
            self._tracker = None
            return False

    def _deliver(self, name: str, box: Box, time_s: float | None, wanted: str) -> "str | bool":
        self._tracker = None
        tracker = MlflowTracker(self._home, self._experiment)
        outage, found = self._outage(name), ""
        until = None if time_s is None else time.monotonic() + time_s
        entries = box.entries()
        start = next((entry for entry in entries if entry.slot == said.START), None)
        rest = [entry for entry in entries if entry.slot != said.START]
        ends = [entry for entry in rest if entry.slot == said.FINISH]
        try:
            if box.is_in_doubt:  # before anything is looked up by its tags
                self._once(lambda: remove_doubles(tracker.connection, name))
            if start is not None:
                found = self._tell(tracker, name, box, start, wanted, found)
            for entry in rest:
                if until is not None and time.monotonic() > until:
                    return False  # goes on with the next call
                if entry in ends and start is not None:
                    box.drop(start)  # said after the end, it would open the study again
                    start = None
                found = self._tell(tracker, name, box, entry, wanted, found)
            if start is not None and len(box.entries()) == 1:
                box.drop(start)
            if box.waits():
                return found or False
            if box.is_in_doubt:
                self._once(lambda: remove_doubles(tracker.connection, name))
                box.doubt(is_so=not ends)
        except StorageError as exc:
            self._failed(name, box, exc)
            outage.lasts(exc)
            return False
        self._tracker = tracker
        done = self._delivered.get(name, 0)
        outage.ends(done - self._told.get(name, 0))
        self._told[name] = done
        return found

    def _tell(  # noqa: PLR0917 - what a record's turn needs
        self,
        tracker: MlflowTracker,
        name: str,
        box: Box,
        entry: Entry,
        wanted: str,
        found: str,
    ) -> str:
        try:
            run_id = self._once(lambda: said.tell(tracker, name, entry))
        except (StoreAway, StoreRefused):
            raise
        except StorageError as exc:
            if entry.slot == said.START:
                raise  # without its run there is nowhere to put the rest
            if entry.reason != str(exc):
                log.warning("study %r: a record is refused and kept: %s", name, exc)
            box.note(entry, str(exc))  # the others shall not wait for this one
            return found
        if entry.slot != said.START:
            box.drop(entry)
            self._delivered[name] = self._delivered.get(name, 0) + 1
        return run_id if entry.slot == wanted else found

    def _once(self, call: Callable[[], Any]) -> Any:
        """The outbox looks what was done before it tries again; MLflow's client would not."""
        with sent_once():
            found = call()
        self._was_reached = True
        return found

    def _failed(self, name: str, box: Box, exc: StorageError) -> None:
        """Forget what is known of the store. Raises `exc` where the store has refused us from the
        first: that is no outage."""
        self._tracker = None
        if not self._was_reached and not isinstance(exc, StoreAway):
            raise exc
        box.doubt(is_so=True)
        self._outage(name).begins(exc)

    def _mlflow(self) -> MlflowTracker:
        assert self._tracker is not None  # noqa: S101 - the caller looked
        return self._tracker

    def _box(self, name: str) -> Box:
        return self._store.box(STUDIES, name)

    def _outage(self, name: str) -> Outage:
        if name not in self._outages:
            what, where = f"study {name!r}", self._box(name).path
            self._outages[name] = Outage(what, self.uri, where)
        return self._outages[name]


def _waits(box: Box) -> str:
    count = len(box.entries())
    return f"{count} record{'' if count == 1 else 's'} of study {box.name!r} wait in {box.path}"
