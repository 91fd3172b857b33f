"""How a process of the service lives: parts opened, tasks together, the end on a signal."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from teststrip.errors import TeststripError

if TYPE_CHECKING:
    import uvicorn

    from teststrip.serve.champion import ChampionWatch
    from teststrip.serve.parts import Parts

log = logging.getLogger(__name__)
Job = Coroutine[Any, Any, Any]


class StoppedEarly(Exception):  # noqa: N818 - no fault
    """Told to stop before the servers were there."""


@asynccontextmanager
async def opened(parts: "Parts") -> "AsyncIterator[tuple[asyncio.Event, ChampionWatch | None]]":
    """The event that says stop, and who watches the champion; all parts are open in the block.

    Raises StoppedEarly, StorageError where a server stays away.
    """
    stop = _stop_on_signals()
    log.info("starting: %s", parts.config.kind)
    champions = None
    try:
        champions = await asyncio.to_thread(_champions, parts)  # it looks once before it returns
        opening, asked = asyncio.create_task(parts.open()), asyncio.create_task(stop.wait())
        await asyncio.wait({opening, asked}, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})
            raise StoppedEarly
        opening.result()
        yield stop, champions
    finally:
        await parts.close()
        if champions is not None:
            await asyncio.to_thread(champions.close)


def _stop_on_signals() -> asyncio.Event:
    """SIGTERM and Ctrl-C ask to stop; asked a second time, the process ends at once.

    Nothing is lost then either: what was accepted is on disk or in the broker.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked(which: signal.Signals) -> None:
        if stop.is_set():
            log.warning("ended at once; what was not finished goes on at the next start")
            os._exit(0 if which == signal.SIGTERM else 130)
        log.info("stopping: what is under way is finished; once more ends at once")
        stop.set()

    for which in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(which, asked, which)
    return stop


async def together(
    stop: asyncio.Event,
    jobs: dict[str, Job],
    server: "uvicorn.Server | None" = None,
    listening: socket.socket | None = None,
) -> None:
    """Run all until `stop`; the web answers until the others are done.

    Where one of them fails, all end and its fault is raised: half a service helps nobody.
    """
    tasks = {asyncio.create_task(job, name=name) for name, job in jobs.items()}
    web = None
    if server is not None:
        sockets = [listening] if listening is not None else None
        web = asyncio.create_task(server.serve(sockets=sockets), name="web")
    every = tasks | ({web} if web else set())
    asked = asyncio.create_task(stop.wait())
    await asyncio.wait({asked, *every}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await asyncio.wait({asked, *tasks})
    if server is not None and web is not None:
        server.should_exit = True
        await asyncio.wait({web})
    for task in every:
        with suppress(asyncio.CancelledError):
            fault = task.exception()
            if fault is not None:
                if not isinstance(fault, TeststripError):
                    log.error("%s failed", task.get_name(), exc_info=fault)
                raise fault


def _champions(parts: "Parts") -> "ChampionWatch | None":
    if not parts.config.champion:
        return None
    from teststrip.serve.champion import ChampionWatch

    return ChampionWatch(parts.config, parts.home)
