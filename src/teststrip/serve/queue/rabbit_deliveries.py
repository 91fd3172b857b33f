"""Deliveries of RabbitMQ: a job, or a dead letter, in the hands of one process."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from aio_pika.abc import AbstractIncomingMessage

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.queue.rabbit_link import Lost, Wire, guarded
from teststrip.serve.queue.rabbit_messages import deliveries_before


class Sends(Protocol):
    """What a delivery needs of its queue; every call returns when the broker confirmed it."""

    async def publish(self, record: JobRecord) -> None:
        """To its lane."""

    async def send_later(self, record: JobRecord, delay_s: float) -> None:
        """To its lane, after about this time."""

    async def send_first(self, record: JobRecord) -> None:
        """Before all lanes of its priority."""

    async def send_dead(self, body: bytes, reason: str) -> None:
        """To the dead letters that are not told yet."""

    async def keep_dead(self, body: bytes, reason: str, died: float | None = None) -> None:
        """To those that were."""


class Taken:
    """A job in a worker's hands, bound to the connection that it came by.

    When that breaks, the broker gives the job to somebody at once, and every call here raises
    StorageError: what was done is told to the state, and the next one to take it up sees that.
    """

    def __init__(
        self, queue: Sends, wire: Wire, message: AbstractIncomingMessage, record: JobRecord
    ) -> None:
        self._queue = queue
        self._wire = wire
        self._message = message
        self._is_ended = False
        self.record = record
        self.redelivered = deliveries_before(message) > 0

    async def ack(self) -> None:
        """It is dealt with."""
        await self._end()

    async def back(self, record: JobRecord, delay_s: float = 0) -> None:
        """A copy goes to the lane, at once or by the retry queue whose pause fits."""
        await self._end(lambda: self._send_back(record, delay_s))

    async def release(self) -> None:
        """A copy goes before its lane: a `nack` would count as a failure on RabbitMQ 3."""
        if self.redelivered:
            self._check()
            await self._settle(self._message.nack(requeue=True))  # keeps the count of failures
            return
        await self._end(lambda: self._queue.send_first(self.record))

    async def dead(self, record: JobRecord, reason: str) -> None:
        """A copy goes to the dead letters."""
        body = record.model_dump_json().encode()
        await self._end(lambda: self._queue.send_dead(body, reason))

    async def _send_back(self, record: JobRecord, delay_s: float) -> None:
        if delay_s <= 0:
            try:
                return await self._queue.publish(record)
            except StorageError:  # its lane is full; a retry queue is not
                delay_s = 0
        return await self._queue.send_later(record, delay_s)

    async def _end(self, first: Callable[[], Awaitable[None]] | None = None) -> None:
        self._check()
        if first is not None:
            await first()
        await self._settle(self._message.ack())

    async def _settle(self, call: Awaitable[None]) -> None:
        try:
            await guarded(call)
        except Lost as exc:
            raise StorageError(f"job {self.record.key}: it comes again; {exc}") from exc
        self._is_ended = True

    def _check(self) -> None:
        if self._is_ended:
            raise StorageError(f"job {self.record.key}: this delivery was ended before")
        if not self._wire.is_alive:
            raise StorageError(
                f"job {self.record.key}: its connection to the broker was lost; it comes again"
            )


class TakenDead(Taken):
    """A dead letter in the sweeper's hands; `record.reason` is why it died."""

    def __init__(
        self,
        queue: Sends,
        wire: Wire,
        message: AbstractIncomingMessage,
        record: JobRecord,
        died: float,
    ) -> None:
        super().__init__(queue, wire, message, record)
        self._died = died
        self.redelivered = False

    async def ack(self) -> None:
        """It was told: it goes to those that stay listed."""
        body, reason = self._message.body, self.record.reason or "unknown"
        await self._end(lambda: self._queue.keep_dead(body, reason, self._died))

    async def release(self) -> None:
        """It is new again."""
        self._check()
        await self._settle(self._message.nack(requeue=True))

    async def dead(self, record: JobRecord, reason: str) -> None:
        """Kept with other words."""
        body = record.model_dump_json().encode()
        await self._end(lambda: self._queue.keep_dead(body, reason, self._died))
