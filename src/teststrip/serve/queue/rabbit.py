"""The queue in RabbitMQ: a quorum queue for each lane, pulled in turns, woken by bells."""

try:
    import aio_pika  # noqa: F401 - says what is missing before the files below need it
except ImportError as exc:
    from teststrip.errors import MissingExtra

    raise MissingExtra("a queue in RabbitMQ", "service") from exc

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from aio_pika import Message
from aio_pika.abc import AbstractIncomingMessage
from pydantic import SecretStr

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.queue.base import DeadLetter, Delivery, Lane, all_lanes, lane_of
from teststrip.serve.queue.rabbit_dead import all_dead
from teststrip.serve.queue.rabbit_deliveries import Taken, TakenDead
from teststrip.serve.queue.rabbit_link import CONFIRM_S, Link, Lost, Wire, guarded, unbroken
from teststrip.serve.queue.rabbit_messages import (
    dead_message,
    job_message,
    letter_in,
    record_in,
)
from teststrip.serve.queue.rabbit_topology import FIRST, Topology, first
from teststrip.serve.queue.turns import Turns

LOOK_S = 1.0  # how often an idle worker looks into all lanes, should a bell have been lost
T = TypeVar("T")
log = logging.getLogger(__name__)


class RabbitQueue:
    """A `JobQueue` for many processes; one object serves one event loop.

    `patience_s`: how long a call tries to reach a broker that is away; `open_s`: how long `open`
    does. `delays_s`: the pauses that `back` can choose from. `max_length`: jobs in one lane.
    `delivery_limit`: see Topology. Raises ConfigError for an address that is none.
    """

    def __init__(
        self,
        url: SecretStr,
        namespace: str,
        *,
        max_length: int = 20_000,
        delivery_limit: int = 5,
        delays_s: Sequence[float] = (2, 5, 15, 60),
        patience_s: float = 10,
        open_s: float = 120,
    ) -> None:
        self._topology = Topology(namespace, tuple(delays_s), max_length, delivery_limit)
        self._link = Link(url, self._prepare, patience_s)
        self._open_s = open_s
        self._patience_s = patience_s
        self._turns = Turns()
        self._places = {self._topology.queue(lane): lane for lane in self._topology.places}
        self._maybe: set[Lane] = set()  # places that may hold something
        self._bell = asyncio.Event()
        self._looked = float("-inf")
        self._taking = asyncio.Lock()
        self._returning: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Connect and declare; waits up to `open_s` seconds for a broker."""
        await self._link.open(self._open_s)

    async def close(self) -> None:
        """Give back what was taken and not ended."""
        if self._returning:
            await asyncio.wait(self._returning, timeout=5)
        await self._link.close()

    # -- in -------------------------------------------------------------------------------------

    async def publish(self, record: JobRecord) -> None:
        """Add a job to its lane. Raises StorageError when it is full or the broker away."""
        lane = lane_of(record.priority, record.owner)
        await self._send(self._topology.jobs, str(lane), job_message(record))
        await self._ring(lane)

    async def send_later(self, record: JobRecord, delay_s: float) -> None:
        """To its lane, after the pause that fits best."""
        lane = lane_of(record.priority, record.owner)
        await self._send(self._topology.retry(delay_s), str(lane), job_message(record))

    async def send_first(self, record: JobRecord) -> None:
        """Before all lanes of its priority."""
        place = first(record.priority)
        await self._send("", self._topology.queue(place), job_message(record))
        await self._ring(place)

    async def send_dead(self, body: bytes, reason: str) -> None:
        """To the dead letters."""
        await self._send(self._topology.dead, "", dead_message(body, reason))

    async def keep_dead(self, body: bytes, reason: str, died: float | None = None) -> None:
        """To the dead letters that were told."""
        await self._send("", self._topology.kept, dead_message(body, reason, died))

    async def _send(self, exchange: str, key: str, message: Message) -> None:
        async def send(wire: Wire) -> None:
            channel = await wire.out.get_underlay_channel()
            await channel.basic_publish(
                message.body,
                exchange=exchange,
                routing_key=key,
                properties=message.properties,
                mandatory=True,
                timeout=CONFIRM_S,
            )

        await self._link.run(send)

    async def _ring(self, place: Lane) -> None:
        """Wake idle workers; who misses it looks by itself a little later."""

        async def ring(wire: Wire) -> None:
            channel = await wire.ring.get_underlay_channel()
            name = self._topology.queue(place)
            await channel.basic_publish(b"", exchange=self._topology.bells, routing_key=name)

        self._may_hold(place)
        try:
            await self._link.run(ring, patience_s=0)
        except StorageError as exc:
            log.debug("no bell: %s", exc)

    # -- out ------------------------------------------------------------------------------------

    async def pull(self, timeout_s: float) -> Delivery | None:
        """The next job by `Turns`. Raises StorageError when the broker stays away."""
        end = time.monotonic() + timeout_s
        while True:
            self._bell.clear()
            taken = await self._link.run(self._take, patience_s=max(timeout_s, self._patience_s))
            left = end - time.monotonic()
            if taken is not None or left <= 0:
                return taken
            look = self._looked + LOOK_S - time.monotonic()
            with suppress(TimeoutError):
                async with asyncio.timeout(max(min(left, look), 0)):
                    await self._bell.wait()

    async def _take(self, wire: Wire) -> Taken | None:
        async with self._taking:
            if time.monotonic() - self._looked >= LOOK_S:
                for lane, depth in (await self._depths(wire)).items():
                    if depth:
                        self._maybe.add(lane)
                self._looked = time.monotonic()
            for place in self._order():
                self._maybe.discard(place)  # a bell during the call puts it in again
                name = self._topology.queue(place)
                if not await self._topology.ready_in(wire.take, name):
                    continue  # ten times as cheap as taking nothing from a quorum queue
                if (message := await self._get(wire, name)) is None:
                    continue
                if message.message_count:
                    self._maybe.add(place)
                if (taken := await self._read(wire, message)) is not None:
                    lane = lane_of(taken.record.priority, taken.record.owner)
                    self._turns.took(lane, self._maybe)
                    return taken
        return None

    def _order(self) -> list[Lane]:
        """Places that may hold something, best first."""
        firsts = {place.priority for place in self._maybe if place.number == FIRST}
        order = []
        for lane in self._turns.order(self._maybe | {Lane(p, 0) for p in firsts}):
            if lane.priority in firsts:
                firsts.remove(lane.priority)
                order.append(first(lane.priority))
            if lane in self._maybe:
                order.append(lane)
        return order

    async def _get(self, wire: Wire, name: str) -> AbstractIncomingMessage | None:
        """One message; who is cancelled meanwhile has it given back."""
        queue = await wire.take.get_queue(name, ensure=False)
        getting = asyncio.ensure_future(queue.get(fail=False, timeout=None))
        try:
            return await unbroken(_result(getting))
        except asyncio.CancelledError:
            task = asyncio.ensure_future(self._give_back(getting, wire, name))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)
            raise

    async def _give_back(
        self, getting: "asyncio.Future[AbstractIncomingMessage | None]", wire: Wire, name: str
    ) -> None:
        try:
            if (message := await guarded(getting)) is None:
                return
            if name == self._topology.dead:
                await guarded(message.nack(requeue=True))
            elif (taken := await self._read(wire, message)) is not None:
                await taken.release()
        except (Lost, StorageError) as exc:
            log.debug("the broker gives it back by itself: %s", exc)

    async def _read(self, wire: Wire, message: AbstractIncomingMessage) -> Taken | None:
        try:
            return Taken(self, wire, message, record_in(message))
        except ValueError as exc:
            await self._put_aside(message, exc)
            return None

    async def _put_aside(self, message: AbstractIncomingMessage, exc: ValueError) -> None:
        log.error("a message in %s is no job and is put aside: %s", message.routing_key, exc)
        await self.keep_dead(message.body, "not a job of this version of the service")
        await guarded(message.ack())

    async def depths(self) -> Mapping[Lane, int]:
        """Jobs that wait, by lane; those that a drain gave back count to lane 0."""
        found = await self._link.run(self._depths)
        return {
            lane: found[lane] + (found[first(lane.priority)] if lane.number == 0 else 0)
            for lane in all_lanes()
        }

    async def _depths(self, wire: Wire) -> dict[Lane, int]:
        ready = self._topology.ready_in
        return {lane: await ready(wire.take, name) for name, lane in self._places.items()}

    # -- dead letters ---------------------------------------------------------------------------

    async def take_dead(self) -> Delivery | None:
        """The oldest that was not told yet, with its reason in `record.reason`."""

        async def take(wire: Wire) -> Taken | None:
            while (message := await self._get(wire, self._topology.dead)) is not None:
                try:
                    letter = letter_in(message)
                except ValueError as exc:
                    await self._put_aside(message, exc)
                    continue
                record = letter.record.model_copy(update={"reason": letter.reason})
                return TakenDead(self, wire, message, record, letter.died)
            return None

        return await self._link.run(take)

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The oldest ones. Others do not see them for as long as this call reads them all."""

        async def read(wire: Wire) -> list[DeadLetter]:
            async with all_dead(wire.connection, self._topology) as found:
                return sorted((letter for _, letter in found), key=lambda one: one.died)[:limit]

        return await self._link.run(read)

    async def requeue_dead(self, key: str) -> JobRecord | None:
        """Publish it anew, as if it had never been tried."""

        async def requeue(wire: Wire) -> JobRecord | None:
            record = None
            async with all_dead(wire.connection, self._topology) as found:
                for message in [one for one, letter in found if letter.record.key == key]:
                    if record is None:
                        change = {"state": "queued", "attempt": 0, "reason": None}
                        record = record_in(message).model_copy(update=change)
                        await self.publish(record)
                    await message.ack()
            return record

        return await self._link.run(requeue)

    async def dead_depth(self) -> int:
        """How many dead letters there are, told or not."""

        async def count(wire: Wire) -> int:
            names = (self._topology.kept, self._topology.dead)
            return sum([await self._topology.ready_in(wire.take, name) for name in names])

        return await self._link.run(count)

    # -- the link -------------------------------------------------------------------------------

    async def is_ready(self) -> bool:
        """Does the broker answer?"""
        try:
            async with asyncio.timeout(2):
                await self._link.run(
                    lambda wire: self._topology.ready_in(wire.ring, self._topology.dead), 0
                )
        except (StorageError, TimeoutError):
            return False
        return True

    async def _prepare(self, wire: Wire) -> None:
        await self._topology.declare(wire.connection)
        queue = await wire.ring.declare_queue(
            exclusive=True, auto_delete=True, arguments={"x-max-length": 1000}
        )
        await queue.bind(self._topology.bells)
        await queue.consume(self._heard, no_ack=True)
        self._looked = float("-inf")  # what was out is in its lane again

    async def _heard(self, message: AbstractIncomingMessage) -> None:
        if (place := self._places.get(message.routing_key or "")) is not None:
            self._may_hold(place)

    def _may_hold(self, place: Lane) -> None:
        self._maybe.add(place)
        self._bell.set()


async def _result(future: "asyncio.Future[T]") -> T:
    return await future
