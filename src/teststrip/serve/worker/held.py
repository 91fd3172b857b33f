"""A claimed job: all that is written of it under its fence, and all its ends."""

import logging
import time
from collections.abc import Callable
from typing import Any

from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.operate import webhooks
from teststrip.serve.operate.ending import keep_last
from teststrip.serve.parts import Parts
from teststrip.serve.queue.base import Delivery
from teststrip.serve.worker.faults import GIVEN_BACK, Stop, patiently

log = logging.getLogger(__name__)
ENGINE, AWAY = "the engine failed: ", "a server was away: "
BENIGN = (GIVEN_BACK, AWAY)


class Held:
    """The record as this worker knows it, and the delivery that it came in.

    `record`: the newest that the state told. `is_loose`: the claim was given up, so that beats
    must not take it back. Calls raise StorageError where a server stays away.
    """

    def __init__(self, parts: Parts, delivery: Delivery, record: JobRecord) -> None:
        self.record = record
        self.key = record.key
        self.images: dict[int, Image] = {i.index: i for i in record.images}
        self.is_loose = False
        self._parts = parts
        self._delivery = delivery

    @property
    def calls_done(self) -> int:
        """Model calls behind it, of all its pictures."""
        return len(self.images) * self.record.recipe.model_calls

    @property
    def current(self) -> JobRecord:
        """The record with all that this worker knows."""
        images = tuple(self.images[i] for i in sorted(self.images))
        return self.record.model_copy(update={"images": images, "calls_done": self.calls_done})

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
        await self._patiently(lambda: keep_last(parts.store, last))
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
        before = AWAY if stopped.kind == "away" else ENGINE
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
