"""The board as the event loop sees it: `await board.make(...)`, while the engine's thread steps."""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from teststrip.errors import TeststripError
from teststrip.recipe import Request
from teststrip.records import Generation
from teststrip.serve.operate.metrics import Metrics
from teststrip.serve.worker.engine_thread import EngineThread
from teststrip.serve.worker.events import (
    Add,
    Cancel,
    Close,
    Ended,
    Event,
    Name,
    Open,
    Opened,
    Preview,
    Settled,
)
from teststrip.serve.worker.faults import Dropped, EngineEnded
from teststrip.serve.worker.stepper import OpenStepper


class Board:
    """All calls from one event loop; none of them waits for the engine but `make` and `open`.

    `models`: facts of every model that was opened, by name (WorkerCard.models).
    """

    def __init__(
        self,
        open_stepper: OpenStepper,
        metrics: Metrics,
        *,
        keep: int = 1,
        preview_every_s: float = 0.5,
        on_preview: Callable[[Name, bytes], None] = lambda _, __: None,
    ) -> None:
        self.models: dict[str, Mapping[str, Any]] = {}
        self.ended = asyncio.Event()  # the engine's thread is over, asked to or not
        self._on_preview = on_preview
        self._loop = asyncio.get_running_loop()
        self._wanted: dict[Name, asyncio.Future[Generation]] = {}
        self._opening: dict[str, asyncio.Future[Mapping[str, Any]]] = {}
        self._thread = EngineThread(
            open_stepper, self._posted, metrics, keep=keep, preview_every_s=preview_every_s
        )
        self._thread.start()

    def __len__(self) -> int:
        return len(self._wanted)

    @property
    def slots(self) -> int:
        """Pictures that share a call in the largest open model; 1 before one is open."""
        return max((int(facts["slots"]) for facts in self.models.values()), default=1)

    @property
    def calls_per_s(self) -> float:
        """Measured while busy; 0 unknown."""
        return self._thread.meter.calls_per_s

    def calls_done(self, name: Name) -> int:
        """Model calls of a picture under way, as of a moment ago."""
        return self._thread.calls.get(name, 0)

    async def open(self, model: str) -> Mapping[str, Any]:
        """Load a model now. Raises what its stepper raises."""
        opening = self._opening.setdefault(model, self._loop.create_future())
        self._thread.tell(Open(model))
        return await opening

    async def make(
        self, name: Name, request: Request, *, wants_preview: bool = False
    ) -> Generation:
        """One picture. Raises WishFault, EngineFault (EngineEnded), or Dropped after `drop`."""
        if self.ended.is_set():
            raise EngineEnded("the engine has ended")
        future: asyncio.Future[Generation] = self._loop.create_future()
        self._wanted[name] = future
        self._thread.tell(Add(name, request, wants_preview))
        try:
            return await future
        except asyncio.CancelledError:
            self.drop(name)
            raise

    def drop(self, name: Name) -> None:
        """Take a picture off; its row is free at the next step. None there is no fault."""
        future = self._wanted.pop(name, None)
        if future is None:
            return
        self._thread.tell(Cancel(name, time.perf_counter()))
        if not future.done():
            future.set_exception(Dropped())

    async def close(self) -> None:
        """End the thread and free the models; what is on board is dropped."""
        self._thread.tell(Close())
        await asyncio.to_thread(self._thread.join)

    # -- called in the engine's thread ----------------------------------------------------------

    def _posted(self, events: list[Event]) -> None:
        if events and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._receive, events)

    # -- back in the loop -----------------------------------------------------------------------

    def _receive(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case Settled(name, result):
                    future = self._wanted.pop(name, None)
                    if future is None or future.done():
                        continue
                    if isinstance(result, TeststripError):
                        future.set_exception(result)
                    else:
                        future.set_result(result)
                case Preview(name, data):
                    if name in self._wanted:
                        self._on_preview(name, data)
                case Opened(model, facts):
                    opening = self._opening.pop(model, None)
                    if not isinstance(facts, Exception):
                        self.models[model] = facts
                        if opening is not None:
                            opening.set_result(facts)
                    elif opening is not None:
                        opening.set_exception(facts)
                case Ended():
                    self._end()

    def _end(self) -> None:
        self.ended.set()
        fault = EngineEnded("the engine has ended")
        left: list[asyncio.Future[Any]] = [*self._wanted.values(), *self._opening.values()]
        for future in left:
            if not future.done():
                future.set_exception(fault)
        self._wanted.clear()
        self._opening.clear()
