"""Sweeper: finds the jobs that a crash left behind and mends them; one process at a time leads."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import PRIORITIES, JobRecord
from teststrip.serve.jobs.states import State
from teststrip.serve.operate import webhooks
from teststrip.serve.operate.dead import died, tell_dead
from teststrip.serve.operate.ending import tell_ended
from teststrip.serve.operate.expiry import sweep_expired, sweep_orphans
from teststrip.serve.operate.webhooks import WebhookSender
from teststrip.serve.parts import Parts

UNPUBLISHED_S = 30.0  # a web that is alive has published, or removed, by then
LOST_S = 180.0  # queued in an empty lane for so long: longer than any pause of a retry
ORPHANS_EVERY_S = 3600.0
WEBHOOKS_EVERY_S = 1.0
log = logging.getLogger(__name__)


class Sweeper:
    """`who` names this process among those that could sweep."""

    def __init__(self, parts: Parts, who: str) -> None:
        self._parts, self._who = parts, who
        self._every = parts.config.sweep_s
        self._sender = WebhookSender(
            parts.state,
            parts.config.the_secret(parts.home),
            parts.metrics,
            allow_private=parts.config.allow_private_webhooks,
        )
        self._stale: dict[str, int] = {}  # key -> version, as the last round saw it
        self._unseen: dict[str, float] = {}  # key -> since when its lane is empty
        self._orphans_at = 0.0
        self._failing: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until told to stop. Faults are logged and tried again; none ends it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_every(self._every, stop, self.sweep))
            tasks.create_task(_every(WEBHOOKS_EVERY_S, stop, self.send))

    async def sweep(self) -> None:
        """One round."""
        await self._try("gauges", self._gauges)
        if not await self._leads():
            self._stale.clear()
            self._unseen.clear()
            return
        await self._try("unpublished jobs", self._publish)
        await self._try("stale leases", self._give_back)
        await self._try("lost messages", self._publish_lost)
        await self._try("dead letters", self._dead)
        await self._try("expiry", self._expire)

    async def send(self) -> None:
        """Webhooks that are due."""
        if await self._leads():
            await self._try("webhooks", self._sender.send_due)

    async def _leads(self) -> bool:
        found: list[bool] = []

        async def lead() -> None:
            found.append(await self._parts.state.lead(self._who, 3 * self._every + 5))

        await self._try("leadership", lead)
        return bool(found) and found[0]

    async def _try(self, what: str, call: Callable[[], Awaitable[object]]) -> None:
        """One fault is told once, not every round; the other duties go on."""
        try:
            await call()
        except StorageError as exc:
            if what not in self._failing:
                log.warning("sweeper: %s: %s; trying again every round", what, exc)
            self._failing.add(what)
        except Exception:
            log.exception("sweeper: %s", what)
        else:
            if what in self._failing:
                log.info("sweeper: %s: works again", what)
            self._failing.discard(what)

    async def _gauges(self) -> None:
        parts = self._parts
        depths = await parts.queue.depths()
        for priority in PRIORITIES:
            waiting = sum(n for lane, n in depths.items() if lane.priority == priority)
            parts.metrics.queue_depth.labels(priority).set(waiting)
        parts.metrics.dead_depth.set(await parts.queue.dead_depth())
        parts.metrics.workers.set(len(await parts.state.workers()))

    async def _publish(self) -> None:
        """Accepted, and then the web died before the queue had it."""
        for record in await self._parts.state.unpublished(UNPUBLISHED_S):
            await self._publish_one(record, "published")

    async def _publish_one(self, record: JobRecord, what: str) -> None:
        await self._parts.queue.publish(record)
        await self._parts.state.published(record.key)
        self._swept(what, record)

    async def _give_back(self) -> None:
        """Its worker fell silent. Seen twice the same, for the queue brings most by itself.

        A worker that hangs holds the message too, so the job is published again; where the old
        message comes as well, the claim takes one and drops the other.
        """
        before, self._stale = self._stale, {}
        for record in await self._parts.state.stale():
            if before.get(record.key) != record.version:
                self._stale[record.key] = record.version
                continue
            await self._give_back_one(record)

    async def _give_back_one(self, record: JobRecord) -> None:
        state = self._parts.state
        end: State | None = None
        if record.cancel_asked:
            end, reason = "cancelled", record.reason
        elif record.attempt >= self._parts.config.max_attempts:
            end, reason = "failed", died(record.attempt)
        if end is not None:
            await webhooks.note(state, record)
            after = await state.move_any(record.key, record.version, end, reason=reason)
            if after is not None:
                await tell_ended(self._parts, after)
                self._swept(end, after)
            return
        # no reason: the next attempt must take it for one that may have killed its worker
        again = await state.move_any(
            record.key, record.version, "queued", reason=None, published=False
        )
        if again is not None:
            await self._publish_one(again, "lease")

    async def _publish_lost(self) -> None:
        """Queued, but its lane stays empty: the queue lost the message."""
        waiting = await self._parts.state.waiting()
        if not waiting:
            self._unseen.clear()
            return
        depths = await self._parts.queue.depths()
        now = time.monotonic()
        empty = [job.key for job in waiting if not depths.get(job.lane)]
        self._unseen = {key: self._unseen.get(key, now) for key in empty}
        for key in [key for key, since in self._unseen.items() if now - since > LOST_S][:100]:
            record = await self._parts.state.get(key)
            del self._unseen[key]
            if record is not None and record.state == "queued":
                await self._publish_one(record, "lost")

    async def _dead(self) -> None:
        if told := await tell_dead(self._parts):
            self._parts.metrics.swept.labels("dead").inc(told)

    async def _expire(self) -> None:
        if count := await sweep_expired(self._parts):
            self._parts.metrics.swept.labels("expired").inc(count)
        if time.monotonic() - self._orphans_at > ORPHANS_EVERY_S or not self._orphans_at:
            if count := await sweep_orphans(self._parts):
                self._parts.metrics.swept.labels("orphans").inc(count)
            self._orphans_at = time.monotonic()

    def _swept(self, what: str, record: JobRecord) -> None:
        self._parts.metrics.swept.labels(what).inc()
        log.info("sweeper: job %s: %s", record.key, what, extra={"job": record.key})


async def _every(pause_s: float, stop: asyncio.Event, call: Callable[[], Awaitable[None]]) -> None:
    while not stop.is_set():
        await call()
        try:
            async with asyncio.timeout(pause_s):
                await stop.wait()
        except TimeoutError:
            continue
