"""The whole service in a thread of this process: web, worker and sweeper, for browsers to look at.

`service_process` starts it as its own process; here a test can reach its parts.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.errors import MissingExtra
from teststrip.serve.config import ServiceConfig
from teststrip.serve.parts import Parts
from teststrip.serve.web.app import create_app
from teststrip.serve.web.keys import KeyRing
from teststrip.serve.worker.stepper import OpenStepper
from teststrip.serve.worker.worker import Worker
from teststrip.track.connection import import_mlflow
from teststrip.wire import service
from teststrip.wire.serving import Address, bound

PATIENCE_S = 120.0


@dataclass(frozen=True)
class Served:
    """A service that runs. `call`: run a coroutine of its parts in its own loop, and wait."""

    address: str
    parts: Parts
    app: Any
    loop: asyncio.AbstractEventLoop

    def call(self, coroutine: Any) -> Any:
        """The coroutine's result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(PATIENCE_S)


@contextmanager
def served(  # noqa: PLR0915 - the life of one thread
    home: Path,
    open_stepper: OpenStepper | None,
    *,
    keys: KeyRing | None = None,
    champions: Any = None,
    **fields: Any,
) -> Iterator[Served]:
    """The service on a free port until the block ends. `open_stepper` None: no worker.

    `fields`: those of ServiceConfig.
    """
    with suppress(MissingExtra):
        import_mlflow()  # here, not in a thread of the service
    parts = service.parts(home, ServiceConfig(**fields), "up")
    listening = bound(Address("127.0.0.1", 0))
    ready, failed = threading.Event(), []
    made: list[Served] = []
    stop: list[Any] = []

    async def run() -> None:
        import uvicorn

        await parts.open()
        app = create_app(parts, champions=champions, keys=keys)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        ended = asyncio.Event()
        tasks = [asyncio.create_task(server.serve(sockets=[listening]))]
        if open_stepper is not None:
            worker = Worker(parts, open_stepper, "worker-1", champions)
            tasks.append(asyncio.create_task(worker.run(ended)))
            await asyncio.wait(
                {tasks[1], asyncio.create_task(worker.ready.wait())}, return_when="FIRST_COMPLETED"
            )
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        made.append(Served(address, parts, app, asyncio.get_running_loop()))
        stop.append(ended)
        ready.set()
        await ended.wait()
        server.should_exit = True
        try:
            await asyncio.gather(*tasks)
        finally:
            await parts.close()

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as exc:  # told to whoever waits
            failed.append(exc)
        finally:
            ready.set()

    running = threading.Thread(target=thread, name="service")
    running.start()
    ready.wait(PATIENCE_S)
    if failed or not made:
        raise RuntimeError("the service did not start") from (failed[0] if failed else None)
    try:
        yield made[0]
    finally:
        made[0].loop.call_soon_threadsafe(stop[0].set)
        running.join(PATIENCE_S)
        listening.close()
    if failed:
        raise failed[0]
