"""One job in a worker's hands, from its claim to its acknowledgement."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from teststrip.errors import StorageError
from teststrip.recipe import Recipe, Request
from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.operate import tracing
from teststrip.serve.parts import Parts
from teststrip.serve.queue.base import Delivery
from teststrip.serve.worker.board import Board
from teststrip.serve.worker.faults import Dropped, Stop, patiently, stop_of
from teststrip.serve.worker.held import BENIGN, Held
from teststrip.serve.worker.pictures import Pictures

log = logging.getLogger(__name__)
RANK = ("lost", "cancelled", "wish", "engine", "away", "drained")  # who is told of two


class Job(Held):
    """`run` makes its pictures and ends it; `stop` ends it early; `beat` prolongs its lease.

    `freed` is called when a picture leaves the engine. All in one event loop.
    """

    def __init__(  # noqa: PLR0917 - what a job is worked on with
        self,
        parts: Parts,
        board: Board,
        pictures: Pictures,
        delivery: Delivery,
        record: JobRecord,
        freed: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(parts, delivery, record)
        self.stopped: Stop | None = None
        self.told = 0.0  # time.monotonic() of the last beat
        self.told_calls = -1
        self.left = len(record.seeds)  # pictures not finished by the engine
        self._board = board
        self._pictures = pictures
        self._freed = freed

    # -- what others see and do -----------------------------------------------------------------

    @property
    def calls_done(self) -> int:
        """Also those of pictures under way."""
        each = self.record.recipe.model_calls
        flying = (i for i in range(len(self.record.seeds)) if i not in self.images)
        return super().calls_done + sum(
            min(self._board.calls_done((self.key, i)), each) for i in flying
        )

    def stop(self, why: Stop) -> None:
        """Drop what is not finished; `run` ends soon. The graver of two reasons stays."""
        if self.stopped is None or RANK.index(why.kind) < RANK.index(self.stopped.kind):
            self.stopped = why
        for index in range(len(self.record.seeds)):
            self._board.drop((self.key, index))

    async def beat(self) -> None:
        """Prolong the lease and tell how far it is. Raises StorageError."""
        if self.is_loose:
            return
        calls = self.calls_done
        told = await self._holding(
            lambda: self._parts.state.beat(
                self.key, self.record.fence, self._parts.config.lease_s, calls, self.current.images
            )
        )
        if told is None:
            if not self.is_loose:
                self.stop(Stop("lost"))
            return
        self.record, self.told, self.told_calls = told, time.monotonic(), calls
        if told.cancel_asked:
            self.stop(Stop("cancelled"))

    # -- its life ---------------------------------------------------------------------------------

    async def run(self, recipe_here: Callable[[JobRecord], Recipe]) -> str:
        """Make all pictures, end the job, acknowledge last; returns what became of it.

        Raises nothing but CancelledError: whatever fails ends in a state of the job, or in a
        delivery that the queue gives to others.
        """
        began = time.time()
        try:
            await self._make(recipe_here)
        except Exception as exc:  # our own fault or a library's: this job's end, nobody else's
            log.exception("job failed", extra={"job": self.key})
            self.stop(stop_of(exc))
        tracing.told("make", self.record.trace, began, time.time(), images=len(self.images))
        return await self._to_its_end(self._end())

    async def _make(self, recipe_here: Callable[[JobRecord], Recipe]) -> None:
        record = self.record
        if record.reason is not None:
            await self._forget_reason()
        recipe = record.recipe
        if record.champion is not None and recipe.loras:
            try:
                recipe = await asyncio.to_thread(recipe_here, record)
            except StorageError as exc:
                self.stop(Stop("away", str(exc)))
                return
        requests = [
            request.model_copy(update={"recipe": recipe})
            if recipe is not record.recipe
            else request
            for request in record.requests
        ]
        self.left = len(requests)
        results = await asyncio.gather(
            *(self._image(index, request) for index, request in enumerate(requests)),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, Dropped):
                self.stop(stop_of(result))

    async def _forget_reason(self) -> None:
        """The last attempt's: whoever finds one takes it for that of the attempt before him."""
        with contextlib.suppress(StorageError):
            told = await self._holding(
                lambda: self._parts.state.move(self.key, self.record.fence, "running", reason=None)
            )
            if told is not None:
                self.record = told

    async def _image(self, index: int, request: Request) -> None:
        is_left = True
        try:
            if self._is_again and (kept := await self._found(index, request)):
                self.images[index] = kept
                return
            if self.stopped is not None:
                return
            wants_preview = self.record.priority != "sweep"
            made = await self._board.make((self.key, index), request, wants_preview=wants_preview)
            self.left, is_left = self.left - 1, False
            self._freed()
            self._parts.metrics.images.inc()
            goes_on = self._may_hold
            self.images[index] = await self._pictures.put(self.record, index, made, goes_on)
            if len(self.images) < len(self.record.seeds):
                self.told = 0.0  # beat soon: somebody may wait for the first of several
        except Exception as exc:
            if not isinstance(exc, Dropped):
                self.stop(stop_of(exc))  # its neighbours of this job at once
            raise
        finally:
            if is_left:
                self.left -= 1

    async def _found(self, index: int, request: Request) -> Image | None:
        return await patiently(
            lambda: self._pictures.found(self.record, index, request),
            self._parts.config.patience_s,
            self._may_hold,
        )

    @property
    def _is_again(self) -> bool:
        return self.record.attempt > 1 or self._delivery.redelivered

    def _may_hold(self) -> bool:
        return self.stopped is None or self.stopped.kind not in ("lost", "drained")

    # -- its ends ---------------------------------------------------------------------------------

    async def _end(self) -> str:
        why, config = self.stopped or Stop("engine", "pictures are missing"), self._parts.config
        if why.kind == "lost":
            return await self._lost()
        if len(self.images) == len(self.record.seeds):
            return await self._ended("done", None)  # whatever stopped it came too late
        if why.kind == "drained":
            return await self._given_back()
        may_work_later = why.kind in ("engine", "away")
        if may_work_later and self.record.attempt < config.max_attempts:
            return await self._again(why)
        if why.kind == "cancelled":
            return await self._ended("cancelled", None)
        tries = f"{self.record.attempt} attempts; the last one: " if may_work_later else ""
        return await self._ended("failed", tries + why.reason, is_dead=may_work_later)

    async def fail(self, reason: str) -> str:
        """End it as failed and as a dead letter, without another attempt."""
        return await self._to_its_end(self._ended("failed", reason, is_dead=True))

    async def _to_its_end(self, ending: Coroutine[Any, Any, str]) -> str:
        """A state or queue that is away for long costs the ending, not the job.

        What was made is in the store; the lease runs out, and the delivery comes again, to us or
        to others.
        """
        try:
            return await ending
        except StorageError as exc:
            log.warning("not acknowledged, it comes again: %s", exc, extra={"job": self.key})
            self.is_loose = True
            with contextlib.suppress(StorageError):
                await self._delivery.back(self.current, self._parts.config.lease_s)
            return "retried"


def is_suspect(record: JobRecord, *, redelivered: bool) -> bool:
    """May this job have ended its worker? `record` as it was when claimed, `attempt` counting us.

    Whoever gave it back told why; a job without a reason was in the hands of one who vanished.
    """
    if record.attempt <= 1 and not redelivered:
        return False
    return not (record.reason or "").startswith(BENIGN)


def indexes_left(jobs: Sequence[Job]) -> int:
    """Pictures that the engine has yet to finish, of all these jobs."""
    return sum(job.left for job in jobs)
