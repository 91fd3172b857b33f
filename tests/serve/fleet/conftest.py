"""A live service in a thread: web, worker, memory queue, SQLite and a folder."""

import asyncio
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.web.app import create_app
from teststrip.serve.worker.worker import Worker
from teststrip.testing.instant import InstantStepper


class Service:
    """Web, worker, memory queue, SQLite and a folder, in a thread with a loop of its own."""

    def __init__(
        self, home, *, with_worker=True, step_s=0.0, keys=None, store=None, **settings
    ) -> None:
        self.home, self.with_worker, self.step_s, self.keys = home, with_worker, step_s, keys
        self.store = store
        self.config = ServiceConfig(retry_base_s=0.01, **settings)
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Service":
        self._thread.start()
        self._ready.wait(60)
        assert self.url, "the service did not start"
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.should_exit = True
        self._thread.join()

    def ask(self, coroutine):
        """Run a coroutine in the service's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def jobs(self) -> list[JobRecord]:
        """All jobs, oldest first."""
        return self.ask(self.parts.state.page(None, limit=1000))[0][::-1]

    async def _run(self) -> None:
        try:
            await self._serve()
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self.parts = parts = Parts(
            home=self.home,
            config=self.config,
            ids=JobIds(b"a secret of the tests alone"),
            state=SqliteState(self.home / "state.db"),
            store=self.store or FolderStore(self.home / "images"),
            queue=MemoryQueue(),
        )
        await parts.open()
        app = create_app(parts, keys=self.keys)
        self.server = uvicorn.Server(
            uvicorn.Config(
                app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1
            )
        )
        working = []
        if self.with_worker:
            worker = Worker(parts, lambda model: InstantStepper(model, step_s=self.step_s), "w1")
            working.append(asyncio.create_task(worker.run(stop)))
            await worker.ready.wait()
        serving = asyncio.create_task(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0.005)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"
        self._ready.set()
        await serving
        stop.set()
        await asyncio.gather(*working)
        await parts.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")) as running:
        yield running


@pytest.fixture
def a_service(tmp_path):
    """Makes one of its own: `with a_service(step_s=0.02, slots=2) as service`."""

    def make(**settings) -> Service:
        return Service(tmp_path, **settings)

    return make
