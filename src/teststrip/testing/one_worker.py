"""A worker of the service on memory queue, SQLite and a folder, with jobs to give it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.recipe import Recipe
from teststrip.records import Generation
from teststrip.serve.champion import ChampionWatch
from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.worker.worker import Worker
from teststrip.testing.instant import InstantStepper

STEPS = Recipe(steps=4)


def parts_in(home: Path, **settings: Any) -> Parts:
    """Parts of one process under `home`, not yet open; short leases and pauses."""
    config = ServiceConfig(**({"lease_s": 5, "retry_base_s": 0.01, "drain_s": 10} | settings))
    return Parts(
        home=home,
        config=config,
        ids=JobIds(b"0123456789abcdef"),
        state=SqliteState(home / "state.db"),
        store=FolderStore(home / "images"),
        queue=MemoryQueue(home / "dead.json"),
    )


@dataclass
class OneWorker:
    """A running worker, its parts, and the wish that it stops."""

    parts: Parts
    worker: Worker
    stop: asyncio.Event
    running: asyncio.Task[None]

    def job(self, prompt: str = "a mug", n: int = 1, **fields: Any) -> JobRecord:
        """A record that nobody knows yet."""
        name = self.parts.ids.new()
        given: dict[str, Any] = {"owner": "ann", "recipe": STEPS, "seeds": tuple(range(n))} | fields
        return JobRecord(id=name.name, key=name.key, prompt=prompt, **given)

    async def send(self, prompt: str = "a mug", n: int = 1, **fields: Any) -> JobRecord:
        """A job, accepted and published as the web does it."""
        record = self.job(prompt, n, **fields)
        await self.parts.state.create(record)
        await self.parts.queue.publish(record)
        await self.parts.state.published(record.key)
        return record

    async def ended(self, record: JobRecord) -> JobRecord:
        """The record once the job has ended."""
        while not (found := await self.parts.state.get(record.key)) or not found.is_ended:
            await asyncio.sleep(0.005)
        return found

    async def when(self, record: JobRecord, state: str) -> JobRecord:
        """The record once the job is in this state."""
        while not (found := await self.parts.state.get(record.key)) or found.state != state:
            await asyncio.sleep(0.005)
        return found

    async def finish(self) -> None:
        """Stop and drain. Raises what the worker raised."""
        self.stop.set()
        await self.running


@asynccontextmanager
async def one_worker(
    home: Path,
    stepper: Any = InstantStepper,
    parts: Parts | None = None,
    champions: ChampionWatch | None = None,
    **settings: Any,
) -> AsyncIterator[OneWorker]:
    """Runs one until the block ends; then it drains."""
    own = parts or parts_in(home, **settings)
    await own.open()
    worker, stop = Worker(own, stepper, "w1", champions), asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    made = OneWorker(own, worker, stop, running)
    ready = asyncio.create_task(worker.ready.wait())
    try:
        await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
        yield made
    finally:
        ready.cancel()
        stop.set()
        await asyncio.gather(running, return_exceptions=True)
        await own.close()


def picture_of(record: JobRecord, index: int = 0) -> bytes:
    """What InstantStepper makes of picture `index` of a job: PNG."""
    stepper = InstantStepper(record.recipe.model)
    stepper.add_request(record.requests[index])
    while True:
        for out in stepper.step():
            if isinstance(out, Generation):
                return out.png
