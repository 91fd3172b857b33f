"""The connection to RabbitMQ: made anew, with growing pauses, whenever it breaks."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import (
    CONNECTION_EXCEPTIONS,
    AuthenticationError,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)
from pydantic import SecretStr
from yarl import URL

from teststrip.errors import ConfigError, StorageError

HEARTBEAT_S = 20  # a silent broker is given up after about two
CONFIRM_S = 10.0
PAUSES_S = (0.05, 5.0)  # shortest and longest between two tries
T = TypeVar("T")
log = logging.getLogger(__name__)


class Lost(Exception):  # noqa: N818 - what happened to the connection
    """The connection broke under a call."""


@dataclass(frozen=True)
class Wire:
    """One living connection and its channels; all of them are given up together.

    `out` confirms what is published, `take` holds deliveries, `ring` is for bells alone.
    """

    connection: AbstractConnection
    out: AbstractChannel
    take: AbstractChannel
    ring: AbstractChannel

    @property
    def is_alive(self) -> bool:
        """Are connection and channels open?"""
        return not any(part.is_closed for part in (self.connection, self.out, self.take, self.ring))


class Link:
    """Gives the wire to whoever needs it; `prepare` declares and listens on each new one.

    `patience_s`: how long a call tries before it raises StorageError.
    """

    def __init__(
        self, url: SecretStr, prepare: Callable[[Wire], Awaitable[None]], patience_s: float
    ) -> None:
        try:
            address = URL(url.get_secret_value())
            self.where = f"RabbitMQ at {address.host}:{address.port or 5672}"
        except ValueError:
            address = URL()
        if address.scheme not in ("amqp", "amqps") or not address.host:
            raise ConfigError("the broker's address is not of the form amqp://user:password@host/")
        if "heartbeat" not in address.query:
            address = address.update_query(heartbeat=str(HEARTBEAT_S))
        self._address = address
        self._prepare = prepare
        self._patience_s = patience_s
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self.is_closed = True

    @property
    def is_alive(self) -> bool:
        """Is there a wire that works, as far as is known?"""
        return self._wire is not None and self._wire.is_alive

    async def open(self, patience_s: float) -> None:
        """Connect. Raises StorageError when no broker came up in this time."""
        self.is_closed = False
        await self._within(patience_s, self._get)

    async def close(self) -> None:
        """Let go of the connection."""
        self.is_closed = True
        async with self._connecting:
            await self._drop()

    async def run(self, act: Callable[[Wire], Awaitable[T]], patience_s: float | None = None) -> T:
        """`act` on a living wire; where it breaks meanwhile, once more on a new one."""

        async def once() -> T:
            wire = await self._get()
            try:
                return await guarded(act(wire))
            except Lost:
                await self._give_up(wire)
                raise

        return await self._within(self._patience_s if patience_s is None else patience_s, once)

    async def _within(self, patience_s: float, once: Callable[[], Awaitable[T]]) -> T:
        end = time.monotonic() + patience_s
        pause, longest = PAUSES_S
        while True:
            if self.is_closed:
                raise StorageError("the queue is closed; no more jobs are taken or given")
            try:
                return await once()
            except Lost as exc:
                if time.monotonic() + pause > end:
                    raise StorageError(
                        f"{self.where} cannot be used: {exc}; does it run, and is "
                        "TESTSTRIP_SERVICE_BROKER its address?"
                    ) from exc
                log.debug("%s: %s; once more", self.where, exc)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # not all at once
            pause = min(2 * pause, longest)

    async def _get(self) -> Wire:
        async with self._connecting:
            if self._wire is not None and self._wire.is_alive:
                return self._wire
            if self._wire is not None:
                log.warning("%s: the connection was lost; connecting anew", self.where)
            await self._drop()
            self._wire = await guarded(self._connect())
            return self._wire

    async def _connect(self) -> Wire:
        try:
            connection = await aio_pika.connect(self._address, timeout=5)
        except (AuthenticationError, ProbableAuthenticationError) as exc:
            raise StorageError(
                f"{self.where} refuses the user or the password of TESTSTRIP_SERVICE_BROKER"
            ) from exc
        try:
            wire = Wire(
                connection,
                out=await connection.channel(on_return_raises=True),
                take=await connection.channel(publisher_confirms=False),
                ring=await connection.channel(publisher_confirms=False),
            )
            await self._prepare(wire)
        except BaseException:
            await connection.close()
            raise
        return wire

    async def _give_up(self, wire: Wire) -> None:
        async with self._connecting:
            if self._wire is wire:
                await self._drop()

    async def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            try:
                await asyncio.wait_for(wire.connection.close(), 5)
            except CONNECTION_EXCEPTIONS as exc:
                log.debug("%s: closing: %s", self.where, exc)


async def guarded(call: Awaitable[T]) -> T:
    """Await a call to the broker. Raises Lost, or StorageError where the broker refuses."""
    try:
        return await call
    except StorageError:
        raise
    except PublishError as exc:
        raise Lost(f"a queue is missing: {exc}") from exc  # a new wire declares it again
    except DeliveryError as exc:
        raise StorageError("the queue is full: RabbitMQ refuses more; try again later") from exc
    except CONNECTION_EXCEPTIONS as exc:
        raise Lost(f"{type(exc).__name__}: {exc}" if str(exc) else type(exc).__name__) from exc
    except asyncio.CancelledError as exc:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise Lost("the connection was closed under the call") from exc


async def unbroken(call: Coroutine[Any, Any, T]) -> T:
    """Await a call that must not be cancelled: the client would close the channel under all others.

    Raises Lost where the connection was closed meanwhile.
    """
    task = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise Lost("the connection was closed under the call") from None
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen
        raise
