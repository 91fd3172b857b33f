"""One job in a worker's hands, from its claim to its acknowledgement."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from teststrip.errors import StorageError
from teststrip.recipe import Recipe, Request
from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.operate import tracing, webhooks
from teststrip.serve.parts import Parts
from teststrip.serve.queue.base import Delivery
from teststrip.serve.worker.board import Board
from teststrip.serve.worker.faults import GIVEN_BACK, Dropped, Stop, patiently, stop_of
from teststrip.serve.worker.pictures import Pictures

log = logging.getLogger(__name__)
ENGINE = "the engine failed: "
RANK = ("lost", "cancelled", "wish", "engine", "away", "drained")  # who is told of two
BENIGN = (GIVEN_BACK, "a server was away: ")


class Job:
    """`run` makes its pictures and ends it; `stop` ends it early; `beat` prolongs its lease.

    `freed` is called when a picture leaves the engine.

    `record`: the newest that the state told, with what is known here on top (`current`). All in
    one event loop.
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
        self.record = record
        self.key = record.key
        self.stopped: Stop | None = None
        self.images: dict[int, Image] = {i.index: i for i in record.images}
        self.told = 0.0  # time.monotonic() of the last beat
        self.told_calls = -1
        self.is_loose = False  # the claim was given up: beats must not take it back
        self.left = len(record.seeds)  # pictures not finished by the engine
        self._parts = parts
        self._board = board
        self._pictures = pictures
        self._delivery = delivery
        self._freed = freed

    # -- what others see and do -----------------------------------------------------------------

    @property
    def calls_done(self) -> int:
        """Model calls behind it, of all its pictures."""
        each = self.record.recipe.model_calls
        flying = (i for i in range(len(self.record.seeds)) if i not in self.images)
        return len(self.images) * each + sum(
            min(self._board.calls_done((self.key, i)), each) for i in flying
        )

    @property
    def current(self) -> JobRecord:
        """The record with all that this worker knows."""
        images = tuple(self.images[i] for i in sorted(self.images))
        return self.record.model_copy(update={"images": images, "calls_done": self.calls_done})

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
        try:
            return await self._end()
        except StorageError as exc:
            # The state is away for long, or the queue. What was made is in the store; the lease
            # runs out, and the delivery comes again, to us or to others.
            log.warning("not acknowledged, it comes again: %s", exc, extra={"job": self.key})
            self.is_loose = True
            with contextlib.suppress(StorageError):
                await self._delivery.back(self.current, self._parts.config.lease_s)
            return "retried"

    async def _make(self, recipe_here: Callable[[JobRecord], Recipe]) -> None:
        record = self.record
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
        try:
            return await self._ended("failed", reason, is_dead=True)
        except StorageError as exc:
            log.warning("not acknowledged, it comes again: %s", exc, extra={"job": self.key})
            self.is_loose = True
            with contextlib.suppress(StorageError):
                await self._delivery.back(self.current, self._parts.config.lease_s)
            return "retried"

    async def _ended(self, state: Any, reason: str | None, *, is_dead: bool = False) -> str:
        """Manifest, state, webhook, and the acknowledgement last."""
        parts, now = self._parts, time.time()
        fields: dict[str, Any] = {
            "images": self.current.images,
            "calls_done": self.calls_done,
            "reason": reason,
            "ended": now,
            "expires": now + parts.config.result_ttl_s,
        }
        last = self.current.changed(state=state, lease_until=0.0, **fields)
        manifest = last.model_dump_json().encode()
        await self._patiently(
            lambda: parts.store.put(last.manifest_key, manifest, "application/json", replace=True)
        )
        await self._patiently(lambda: webhooks.note(parts.state, last))  # a crash loses no call
        moved = await self._patiently(
            lambda: self._holding(
                lambda: parts.state.move(self.key, self.record.fence, state, **fields)
            )
        )
        if moved is None:
            return await self._lost()
        self.is_loose = True
        parts.metrics.jobs.labels(state).inc()
        parts.metrics.end_to_end.labels(moved.priority).observe(max(now - moved.accepted, 0.0))
        level = logging.WARNING if state == "failed" else logging.INFO
        told = {"job": self.key, "state": state, "attempt": moved.attempt}
        log.log(level, "job %s%s", state, f": {reason}" if reason else "", extra=told)
        if is_dead:
            await self._delivery.dead(moved, reason or "")
        else:
            await self._delivery.ack()
        return str(state)

    async def _again(self, stopped: Stop) -> str:
        """Back into the queue, to be tried after a growing pause."""
        config = self._parts.config
        delay = config.retry_base_s * 2 ** (self.record.attempt - 1)
        before = BENIGN[1] if stopped.kind == "away" else ENGINE
        waiting = await self._queued(reason=before + stopped.reason)
        if waiting is None:
            return await self._lost()
        await self._delivery.back(waiting, delay)
        self._parts.metrics.retries.inc()
        told = {"job": self.key, "attempt": waiting.attempt}
        log.warning("job tried again in %.0f s: %s", delay, waiting.reason, extra=told)
        return "retried"

    async def _given_back(self) -> str:
        """To another worker, as if this one had never had it."""
        waiting = await self._queued(
            reason=f"{GIVEN_BACK}its worker was asked to end", attempt=self.record.attempt - 1
        )
        if waiting is None:
            return await self._lost()
        await self._delivery.release()
        log.info("job given back", extra={"job": self.key})
        return "released"

    async def _queued(self, **fields: Any) -> JobRecord | None:
        images = self.current.images
        self.is_loose = True
        return await self._holding(
            lambda: self._parts.state.move(
                self.key, self.record.fence, "queued", images=images, **fields
            )
        )

    async def _lost(self) -> str:
        """Another has the claim, or it was ended: ours to drop, unless nobody is there for it."""
        self.is_loose = True
        self._parts.metrics.lost_claims.inc()
        found = await self._parts.state.get(self.key)
        log.warning("claim lost; result dropped", extra={"job": self.key})
        if found is not None and found.is_ended:
            await self._delivery.ack()
        else:  # one message too many is harmless, one too few is a lost job
            again = found or self._delivery.record
            await self._delivery.back(again, self._parts.config.lease_s)
        return "lost"

    async def _holding(self, call: Callable[[], Any]) -> JobRecord | None:
        """`call` a compare and set; where the state lost the record, give it back and call again.

        None: the claim is another's.
        """
        told: JobRecord | None = await call()
        if told is not None or await self._parts.state.get(self.key) is not None:
            return told
        lease = {"lease_until": time.time() + self._parts.config.lease_s, "state": "running"}
        restored = await self._parts.state.restore(self.current.model_copy(update=lease))
        if restored.fence != self.record.fence:
            return None
        log.warning("record restored: the state had lost it", extra={"job": self.key})
        again: JobRecord | None = await call()
        return again

    async def _patiently(self, call: Callable[[], Any]) -> Any:
        return await patiently(call, self._parts.config.patience_s)


def is_suspect(record: JobRecord, *, redelivered: bool) -> bool:
    """May this job have ended its worker? `record` as it was when claimed, `attempt` counting us.

    Whoever gave it back told why; a job without a reason was in the hands of one who vanished.
    """
    if record.attempt <= 1 and not redelivered:
        return False
    return not (record.reason or "").startswith(tuple(BENIGN))


def indexes_left(jobs: Sequence[Job]) -> int:
    """Pictures that the engine has yet to finish, of all these jobs."""
    return sum(job.left for job in jobs)
