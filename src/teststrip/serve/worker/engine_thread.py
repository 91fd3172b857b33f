"""The one thread that owns the steppers: boards pictures, steps, hands out what is finished.

Nothing here waits for a network or a disk; what it finds out it posts to the event loop.
"""

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

from teststrip.recipe import Recipe
from teststrip.records import Generation, Progress
from teststrip.serve.operate.metrics import ROWS, Metrics
from teststrip.serve.worker.events import (
    Add,
    Cancel,
    Close,
    Command,
    Ended,
    Event,
    Name,
    Open,
    Opened,
    Preview,
    Settled,
)
from teststrip.serve.worker.faults import EngineFault, is_out_of_memory, of_engine, of_reason
from teststrip.serve.worker.meter import Meter
from teststrip.serve.worker.open_model import OpenModel
from teststrip.serve.worker.stepper import OpenStepper, Stepper

log = logging.getLogger(__name__)

PATIENCE = 64  # pictures of open models that may overtake one whose model must be opened
SNAPSHOT_S = 0.2
PREVIEW_SHARE, PREVIEW_CREDIT_S = 0.05, 0.1  # of the step time; saved up at most
MOST_BREAKS = 3


class EngineThread:
    """Commands in through `tell`, events out through `post` (called in this thread)."""

    def __init__(
        self,
        open_stepper: OpenStepper,
        post: Callable[[list[Event]], None],
        metrics: Metrics,
        *,
        keep: int = 1,
        preview_every_s: float = 0.5,
    ) -> None:
        self.meter = Meter()
        self.calls: Mapping[Name, int] = {}  # model calls done, a moment ago; replaced whole
        self._open_stepper = open_stepper
        self._post = post
        self._metrics = metrics
        self._keep = keep
        self._preview_every_s = preview_every_s
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._pending: deque[Add] = deque()
        self._models: deque[OpenModel] = deque()  # who stepped last is at the end
        self._overtaken = 0
        self._breaks = 0
        self._looked = 0.0
        self._credit_s = PREVIEW_CREDIT_S
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="teststrip-engine", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def tell(self, command: Command) -> None:
        """From any thread; returns at once."""
        self._inbox.put(command)

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._closing and self._breaks < MOST_BREAKS:
                self._read_inbox()
                self._admit()
                model = next((m for m in self._models if m.tickets), None)
                if model is not None:
                    self._models.remove(model)
                    self._models.append(model)
                    self._step(model)
        except Exception:
            log.exception("the engine's thread ended")
        finally:
            self._end()

    def _read_inbox(self) -> None:
        has_work = bool(self._pending) or any(model.tickets for model in self._models)
        try:
            while not self._closing:
                self._obey(self._inbox.get(block=not has_work))
                has_work = True
        except queue.Empty:
            pass

    def _obey(self, command: Command) -> None:
        match command:
            case Add():
                self._pending.append(command)
            case Cancel(name, asked):
                self._pending = deque(add for add in self._pending if add.name != name)
                for model in self._models:
                    for ticket in [t for t, a in model.tickets.items() if a and a.name == name]:
                        model.drop(ticket)
                self._metrics.cancel_seconds.observe(time.perf_counter() - asked)
            case Open(name):
                try:
                    self._open(Recipe(model=name))
                except Exception as exc:
                    self._post([Opened(name, exc)])
            case Close():
                self._closing = True

    # -- boarding -------------------------------------------------------------------------------

    def _admit(self) -> None:
        """Board all whose model is open; open the next model when its turn has come."""
        passed: deque[Add] = deque()
        while self._pending:
            add = self._pending.popleft()
            if passed and self._overtaken >= PATIENCE:
                passed.append(add)
                continue
            try:
                model = self._model_for(add.request.recipe, may_open=not passed)
                if model is None:
                    passed.append(add)
                    continue
                model.board(add)
            except Exception as exc:  # of any model's own making: this picture's fault, no more
                self._post([Settled(add.name, of_engine(exc))])
                continue
            self._overtaken = self._overtaken + 1 if passed else 0
        self._pending = passed

    def _model_for(self, recipe: Recipe, *, may_open: bool) -> OpenModel | None:
        found = next((model for model in self._models if model.fits(recipe)), None)
        if found is not None or not may_open:
            return found
        idle = [model for model in self._models if not model.tickets]
        if len(self._models) >= self._keep:
            if not idle:
                return None  # it steps on until one is free
            self._models.remove(idle[0])
            idle[0].stepper.close()
        return self._open(recipe)

    def _open(self, recipe: Recipe) -> OpenModel:
        asked = {"revision": recipe.revision, "dtype": recipe.dtype}
        begun = time.perf_counter()
        stepper = self._open_stepper(recipe.model, **{k: v for k, v in asked.items() if v})
        self._metrics.model_load_seconds.observe(time.perf_counter() - begun)
        model = OpenModel(stepper, is_auto=recipe.dtype is None)
        self._models.append(model)
        self._post([Opened(recipe.model, model.facts)])
        return model

    # -- stepping -------------------------------------------------------------------------------

    def _step(self, model: OpenModel) -> None:
        begun, rows = time.perf_counter(), 0

        def count(_: Progress) -> None:
            nonlocal rows
            rows += 1

        try:
            outcomes = model.stepper.step(count)
        except Exception as exc:
            self._break(model, exc)
            return
        self._breaks = 0
        seconds = time.perf_counter() - begun
        if rows:
            self.meter.add(rows, seconds)
            size = next((bound for bound in ROWS if rows <= bound), ROWS[-1])
            self._metrics.step_seconds.labels(str(size)).observe(seconds)
            self._metrics.batch_rows.observe(rows)
            self._metrics.steps.inc()
            self._metrics.occupancy.set(min(rows / max(model.stepper.slots, 1), 1.0))
        events: list[Event] = []
        for outcome in outcomes:
            if (add := model.take(outcome)) is not None:
                made = outcome if isinstance(outcome, Generation) else of_reason(outcome.reason)
                events.append(Settled(add.name, made))
        if events:
            self._post(events)
        self._look(model, seconds)

    def _look(self, model: OpenModel, seconds: float) -> None:
        """Every now and then: how far everybody is, and how it looks."""
        now = time.perf_counter()
        if now - self._looked >= SNAPSHOT_S:
            self._looked = now
            self.calls = {
                add.name: progress.calls_done
                for other in self._models
                for ticket, add in other.tickets.items()
                if add and (progress := other.stepper.progress(ticket))
            }
        gained = max(self._credit_s, -PREVIEW_CREDIT_S) + PREVIEW_SHARE * seconds
        self._credit_s = min(gained, PREVIEW_CREDIT_S)  # the first one fits colours: forgiven
        if not self._preview_every_s:
            return
        due = [
            (model.previewed.get(ticket, 0.0), ticket, add.name)
            for ticket, add in model.tickets.items()
            if add
            and add.wants_preview
            and now - model.previewed.get(ticket, 0.0) >= self._preview_every_s
        ]
        for _, ticket, name in sorted(due):
            if self._credit_s <= 0:
                return
            begun = time.perf_counter()
            try:
                data = model.stepper.preview(ticket)
            except Exception:  # a picture is worth more than its preview
                log.exception("no more previews: one failed")
                self._preview_every_s = 0
                return
            self._credit_s -= time.perf_counter() - begun
            if data is not None:
                model.previewed[ticket] = begun
                self._post([Preview(name, data)])

    # -- faults ---------------------------------------------------------------------------------

    def _break(self, model: OpenModel, exc: Exception) -> None:
        """Out of memory: who boarded first goes, the others step on. Else all go, and the stepper.

        An engine halves its rows before it gives up: the one left in the batch is the oldest.
        """
        on_board = {t: add for t, add in model.tickets.items() if add}
        if is_out_of_memory(exc):
            self._metrics.out_of_memory.inc()
            victims = sorted(on_board)[:1]
        else:
            self._breaks += 1
            log.error("the engine failed; %d pictures are given back", len(on_board), exc_info=exc)
            victims = sorted(on_board)
        is_alone = len({add.name[0] for add in on_board.values()}) == 1
        fault = of_engine(exc)
        if not is_alone and not isinstance(fault, EngineFault):
            fault = EngineFault(str(exc))  # whose fault it is shows when each is made alone
        events: list[Event] = [Settled(on_board[ticket].name, fault) for ticket in victims]
        if is_out_of_memory(exc):
            for ticket in victims:
                model.drop(ticket)
        else:
            self._models.remove(model)
            _close(model.stepper)
        self._post(events)

    def _end(self) -> None:
        for model in self._models:
            _close(model.stepper)
        self._models.clear()
        self._post([Ended()])


def _close(stepper: Stepper) -> None:
    try:
        stepper.close()
    except Exception:  # it is broken already; what counts is what comes after it
        log.exception("a model could not be closed")
