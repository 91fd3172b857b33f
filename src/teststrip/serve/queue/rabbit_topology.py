"""What the service declares in RabbitMQ, all under its namespace, for 3.10 and later.

    <ns>.jobs   (direct)  -> <ns>.people.0 ... <ns>.sweep.3    the lanes
    <ns>.<priority>.first                                      given back by a drain: served first
    <ns>.retry.<ms>  (fanout) -> <ns>.retry.<ms> -> <ns>.jobs  comes back to its lane after a pause
    <ns>.dead   (fanout)  -> <ns>.dead -> <ns>.dead.kept       given up, before and after it is told
    <ns>.bells  (fanout)  -> one queue for each process        "something lies in lane X"

One queue for each lane, since priorities inside a quorum queue came with 4.0 only; fixed pauses,
since delays came with 4.3 only and a queue lets messages expire at its head alone.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import ChannelPreconditionFailed

from teststrip.serve.jobs.job import PRIORITIES, Priority
from teststrip.serve.queue.base import Lane, all_lanes
from teststrip.serve.queue.rabbit_link import unbroken

FIRST = -1  # Lane(priority, FIRST): the queue of what a drain gave back
KEPT = 10_000  # dead letters that stay listed; the oldest go first
ENDLESS = 1_000_000  # redeliveries of a dead letter; RabbitMQ 4 would drop it after 20
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Topology:
    """Names of all that is declared, and their limits.

    `max_length`: messages in one lane, then the broker refuses. `delivery_limit`: how often a lane
    gives a message anew after its worker vanished, then it is a dead letter.
    """

    namespace: str
    delays_s: Sequence[float]
    max_length: int
    delivery_limit: int

    @property
    def jobs(self) -> str:
        """The exchange that routes to lanes."""
        return f"{self.namespace}.jobs"

    @property
    def bells(self) -> str:
        """The exchange that wakes idle workers."""
        return f"{self.namespace}.bells"

    @property
    def dead(self) -> str:
        """Exchange and queue of the dead letters that were not told yet."""
        return f"{self.namespace}.dead"

    @property
    def kept(self) -> str:
        """Queue of the dead letters that were."""
        return f"{self.namespace}.dead.kept"

    def queue(self, lane: Lane) -> str:
        """The queue of a lane."""
        number = "first" if lane.number == FIRST else lane.number
        return f"{self.namespace}.{lane.priority}.{number}"

    @property
    def places(self) -> list[Lane]:
        """All that a worker takes from."""
        return [*(first(p) for p in PRIORITIES), *all_lanes()]

    def retry(self, delay_s: float) -> str:
        """Exchange and queue of the shortest pause that is long enough, else of the longest."""
        longest = max(self.delays_s)
        return self._retry(min((d for d in self.delays_s if d >= delay_s), default=longest))

    def _retry(self, pause_s: float) -> str:
        return f"{self.namespace}.retry.{round(pause_s * 1000)}"

    async def declare(self, connection: AbstractConnection) -> None:
        """Make what is not there; a queue that is there with other limits keeps those."""
        async with connection.channel() as channel:
            jobs = await channel.declare_exchange(self.jobs, "direct", durable=True)
            await channel.declare_exchange(self.bells, "fanout", durable=True)
            dead = await channel.declare_exchange(self.dead, "fanout", durable=True)
        lanes = {
            "x-delivery-limit": self.delivery_limit,
            "x-max-length": self.max_length,
            **_handing_on(self.dead),
        }
        endless: dict[str, str | int] = {"x-delivery-limit": ENDLESS}
        await self._queue(connection, self.dead, endless)
        await self._queue(connection, self.kept, endless | {"x-max-length": KEPT})
        for lane in self.places:
            await self._queue(connection, self.queue(lane), lanes)
        for pause_s in self.delays_s:
            arguments = {"x-message-ttl": round(pause_s * 1000), **_handing_on(self.jobs)}
            await self._queue(connection, self._retry(pause_s), arguments)
        async with connection.channel() as channel:
            await (await channel.get_queue(self.dead)).bind(dead.name)
            for lane in all_lanes():
                await (await channel.get_queue(self.queue(lane))).bind(jobs.name, str(lane))
            for pause_s in self.delays_s:
                exchange = await channel.declare_exchange(
                    self._retry(pause_s), "fanout", durable=True
                )
                await (await channel.get_queue(exchange.name)).bind(exchange.name)

    async def _queue(
        self, connection: AbstractConnection, name: str, arguments: dict[str, str | int]
    ) -> None:
        try:
            async with connection.channel() as channel:
                await channel.declare_queue(
                    name, durable=True, arguments={"x-queue-type": "quorum", **arguments}
                )
        except ChannelPreconditionFailed as exc:
            log.warning(
                "RabbitMQ's queue %s was made with other settings and keeps them: %s", name, exc
            )

    async def ready_in(self, channel: AbstractChannel, name: str) -> int:
        """Messages that wait in a queue."""
        queue = await unbroken(channel.declare_queue(name, passive=True))
        return queue.declaration_result.message_count or 0


def first(priority: Priority) -> Lane:
    """The place of a priority that is served before its lanes."""
    return Lane(priority, FIRST)


def _handing_on(exchange: str) -> dict[str, str | int]:
    """Dead-lettering that loses nothing: handed on until the other side has confirmed it."""
    return {
        "x-dead-letter-exchange": exchange,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",  # the strategy asks for it
    }
