"""All dead letters of RabbitMQ at once, to list them or to take one out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aio_pika.abc import AbstractConnection, AbstractIncomingMessage

from teststrip.serve.queue.base import DeadLetter
from teststrip.serve.queue.rabbit_messages import letter_in
from teststrip.serve.queue.rabbit_topology import Topology


@asynccontextmanager
async def all_dead(
    connection: AbstractConnection, topology: Topology
) -> AsyncIterator[list[tuple[AbstractIncomingMessage, DeadLetter]]]:
    """All of them in hand; those not acknowledged are given back, in the same order.

    Given back one by one, or in part, they would change places.
    """
    async with connection.channel() as channel:
        found = []
        for name in (topology.kept, topology.dead):
            queue = await channel.get_queue(name)
            while (message := await queue.get(fail=False, timeout=None)) is not None:
                with suppress(ValueError):  # no job; the log told it
                    found.append((message, letter_in(message)))
        yield found
        underlay = await channel.get_underlay_channel()
        await underlay.basic_nack(0, multiple=True, requeue=True)
