"""A live service in a thread: real HTTP, worker and an instant engine; OpenAI's own client."""

import asyncio
import functools
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

import openai
import pytest
import uvicorn

from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.parts import Parts
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.web.app import create_app
from teststrip.serve.worker.worker import Worker
from teststrip.testing.instant import InstantStepper


@dataclass
class Live:
    """A running service; `ask` runs a coroutine in its loop."""

    app: object
    parts: Parts
    url: str
    loop: asyncio.AbstractEventLoop
    clients: list[openai.OpenAI] = field(default_factory=list)

    def ask(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()

    def client(self, **options):
        """OpenAI's client, as anybody would make it."""
        given = {"api_key": "none is needed", "max_retries": 0} | options
        self.clients.append(openai.OpenAI(base_url=f"{self.url}/v1", **given))
        return self.clients[-1]

    def jobs(self):
        """All jobs, newest first."""
        return self.ask(self.parts.state.page(None))[0]

    def until(self, true):
        """Wait for a condition on the jobs; gives the jobs."""
        while not true(jobs := self.jobs()):
            time.sleep(0.01)
        return jobs


@pytest.fixture
def live(tmp_path):
    """`with live(keys=..., step_s=..., worker=False, **settings) as service: ...`"""

    @contextmanager
    def opened(*, keys=None, worker=True, step_s=0.0, **settings):
        config = ServiceConfig(retry_base_s=0.01, **settings)
        stepper = functools.partial(InstantStepper, step_s=step_s)
        ready, made = threading.Event(), []

        async def serve():
            parts = Parts(
                home=tmp_path,
                config=config,
                ids=JobIds(config.the_secret(tmp_path)),
                state=SqliteState(tmp_path / "state.db"),
                store=FolderStore(tmp_path / "images"),
                queue=MemoryQueue(None),
            )
            await parts.open()
            stop, tasks = asyncio.Event(), []
            if worker:
                working = Worker(parts, stepper, "w1")
                tasks.append(asyncio.create_task(working.run(stop)))
                await working.ready.wait()
            app = create_app(parts, keys=keys)
            server = uvicorn.Server(
                uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=1)
            )
            server.install_signal_handlers = lambda: None
            serving = asyncio.create_task(server.serve())
            while not server.started:
                await asyncio.sleep(0.005)
            port = server.servers[0].sockets[0].getsockname()[1]
            url = f"http://127.0.0.1:{port}"
            made.append((Live(app, parts, url, asyncio.get_running_loop()), server))
            ready.set()
            await serving
            stop.set()
            await asyncio.gather(*tasks)
            await parts.close()

        thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        thread.start()
        while not ready.wait(0.1):
            assert thread.is_alive()
        service, server = made[0]
        try:
            yield service
        finally:
            for client in service.clients:
                client.close()
            server.should_exit = True
            thread.join()

    return opened
