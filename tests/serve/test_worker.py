"""The worker on the memory queue, SQLite and a folder: what becomes of jobs, good and bad."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from teststrip import Block, Request
from teststrip.recipe import Recipe
from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.worker.worker import Worker
from teststrip.testing.instant import InstantStepper

pytestmark = pytest.mark.anyio
STEPS = Recipe(steps=4)


@pytest.fixture
def service(tmp_path):
    """`async with service(step_s=..., **settings) as (parts, worker): ...` runs a worker."""

    @asynccontextmanager
    async def opened(stepper=None, start=True, **settings):
        config = ServiceConfig(retry_base_s=0.01, **({"lease_s": 5} | settings))
        parts = Parts(
            home=tmp_path,
            config=config,
            ids=JobIds(b"0123456789abcdef"),
            state=SqliteState(tmp_path / "state.db"),
            store=FolderStore(tmp_path / "images"),
            queue=MemoryQueue(tmp_path / "dead.json"),
        )
        await parts.open()
        worker, stop = Worker(parts, stepper or InstantStepper, "w1"), asyncio.Event()
        running = asyncio.create_task(worker.run(stop)) if start else None
        try:
            yield parts, worker
        finally:
            stop.set()
            if running is not None:
                await running
            await parts.close()

    return opened


def job(parts, prompt="a mug", n=1, **fields):
    name = parts.ids.new()
    given = {"owner": "ann", "recipe": STEPS, "seeds": tuple(range(n))} | fields
    return JobRecord(id=name.name, key=name.key, prompt=prompt, **given)


async def send(parts, record):
    await parts.state.create(record)
    await parts.queue.publish(record)
    await parts.state.published(record.key)
    return record


async def ended(parts, record):
    while not (found := await parts.state.get(record.key)).is_ended:
        await asyncio.sleep(0.005)
    return found


async def until(true):
    while not true():
        await asyncio.sleep(0.002)


async def queue_is_empty(parts):
    """Nothing waits and nothing is in a worker's hands."""
    await until(lambda: not parts.queue._out and not parts.queue._later)
    return sum((await parts.queue.depths()).values()) == 0


def expected(record, index):
    stepper = InstantStepper()
    stepper.add_request(
        Request(recipe=record.recipe, block=Block(prompt=record.prompt, seed=record.seeds[index]))
    )
    out = []
    while not out:
        out = stepper.step()
    return out[0].png


async def test_a_job_ends_done_with_the_pictures_of_its_seeds(service):
    async with service() as (parts, _):
        record = await send(parts, job(parts, n=3))

        done = await ended(parts, record)

        assert done.state == "done"
        assert [image.seed for image in done.images] == [0, 1, 2]
        for index, image in enumerate(done.images):
            data = await parts.store.get(record.image_key(index))
            assert data == expected(record, index)
            assert (image.bytes, image.key) == (len(data), record.image_key(index))
        last = JobRecord.model_validate_json(await parts.store.get(record.manifest_key))
        assert (last.state, last.images) == ("done", done.images)
        assert await queue_is_empty(parts)
    assert b'teststrip_jobs_total{outcome="done"} 1.0' in parts.metrics.text()


async def test_a_hundred_jobs_are_made_side_by_side_each_once(service):
    boards = []

    def stepper(model):
        boards.append(InstantStepper(model, slots=8, step_s=0.005))
        return boards[-1]

    async with service(stepper) as (parts, worker):
        records = [await send(parts, job(parts, prompt=f"mug {k}")) for k in range(100)]

        done = [await ended(parts, record) for record in records]

        assert {found.state for found in done} == {"done"}
        assert {found.attempt for found in done} == {1}
        assert worker.slots == 8
    steps = parts.metrics.steps._value.get()
    assert 100 * 4 / 8 <= steps < 100 * 4 / 1.5, "they shared model calls"


async def test_a_wish_that_cannot_be_made_fails_at_once_with_the_reason(service):
    async with service() as (parts, _):
        bad = await send(parts, job(parts, "FAULT"))
        other = await send(parts, job(parts, recipe=Recipe(model="other"), prompt="b"))
        good = await send(parts, job(parts))

        found = await ended(parts, bad)

        assert (found.state, found.attempt) == ("failed", 1)
        assert "NaN" in found.reason
        assert (await ended(parts, good)).state == "done"
        assert (await ended(parts, other)).state == "done"  # its model was opened for it
        manifest = json.loads(await parts.store.get(bad.manifest_key))
        assert manifest["reason"] == found.reason
        assert await parts.queue.dead_letters() == []


async def test_out_of_memory_is_tried_again_alone(service):
    async with service() as (parts, _):
        tight = await send(parts, job(parts, "MEMORY"))
        others = [await send(parts, job(parts, prompt=f"mug {k}")) for k in range(4)]

        found = await ended(parts, tight)

        assert (found.state, found.reason) == ("done", None)
        assert {(await ended(parts, other)).state for other in others} == {"done"}
    assert parts.metrics.out_of_memory._value.get() == 1
    assert parts.metrics.retries._value.get() == 1


async def test_an_engine_that_breaks_gives_its_jobs_back_and_is_opened_anew(service):
    class Breaks(InstantStepper):
        opened = 0

        def __init__(self, model):
            super().__init__(model)
            Breaks.opened += 1

        def step(self, on_progress=None):
            if Breaks.opened == 1 and len(self._flights) > 1:
                raise RuntimeError("CUDA error: device-side assert triggered")
            return super().step(on_progress)

    async with service(Breaks) as (parts, _):
        first = await send(parts, job(parts, n=2))
        second = await send(parts, job(parts, n=2))

        for record in (first, second):
            assert (await ended(parts, record)).state == "done"
        assert Breaks.opened == 2


async def test_an_engine_that_always_breaks_ends_the_worker(service):
    from teststrip.errors import GenerationError

    class Broken(InstantStepper):
        def step(self, on_progress=None):
            raise RuntimeError("no GPU left")

    async with service(Broken, start=False, max_attempts=10) as (parts, worker):
        record = await send(parts, job(parts))

        with pytest.raises(GenerationError, match="again and again"):
            await worker.run(asyncio.Event())

        found = await parts.state.get(record.key)
        assert (found.state, found.reason) == (
            "queued",
            "the engine failed: RuntimeError: no GPU left",
        )


async def test_after_its_attempts_a_job_is_failed_and_a_dead_letter(service):
    class Tight(InstantStepper):
        def step(self, on_progress=None):
            self._refused.clear()
            return super().step(on_progress)

    async with service(Tight, max_attempts=3) as (parts, _):
        record = await send(parts, job(parts, "MEMORY"))

        found = await ended(parts, record)

        assert (found.state, found.attempt) == ("failed", 3)
        assert "3 attempts" in found.reason
        assert "out of memory" in found.reason
        await until(lambda: not parts.queue._out)
        (letter,) = await parts.queue.dead_letters()
        assert letter.record.key == record.key


async def test_a_model_that_cannot_be_opened_ends_the_start(service):
    from teststrip.errors import ModelError

    def stepper(model):
        raise ModelError("no such folder")

    async with service(stepper, start=False) as (_, worker):
        with pytest.raises(ModelError, match="no such folder"):
            await worker.run(asyncio.Event())
