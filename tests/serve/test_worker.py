"""The worker on the memory queue, SQLite and a folder: what becomes of jobs, good and bad."""

import asyncio
import json

import pytest

from teststrip.errors import GenerationError, ModelError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.worker.worker import Worker
from teststrip.testing.instant import InstantStepper
from teststrip.testing.one_worker import one_worker, parts_in, picture_of

pytestmark = pytest.mark.anyio


async def until(true):
    while not true():
        await asyncio.sleep(0.002)


async def test_a_job_ends_done_with_the_pictures_of_its_seeds(tmp_path):
    async with one_worker(tmp_path) as one:
        record = await one.send(n=3)

        done = await one.ended(record)

        assert done.state == "done"
        assert [image.seed for image in done.images] == [0, 1, 2]
        for index, image in enumerate(done.images):
            data = await one.parts.store.get(record.image_key(index))
            assert data == picture_of(record, index)
            assert (image.bytes, image.key) == (len(data), record.image_key(index))
        last = JobRecord.model_validate_json(await one.parts.store.get(record.manifest_key))
        assert (last.state, last.images) == ("done", done.images)
        await until(lambda: not one.parts.queue._out)
        assert sum((await one.parts.queue.depths()).values()) == 0
        assert b'teststrip_jobs_total{outcome="done"} 1.0' in one.parts.metrics.text()


async def test_a_hundred_jobs_are_made_side_by_side_each_once(tmp_path):
    def stepper(model):
        return InstantStepper(model, slots=8, step_s=0.005)

    async with one_worker(tmp_path, stepper) as one:
        records = [await one.send(f"mug {k}") for k in range(100)]

        done = [await one.ended(record) for record in records]

        assert {(found.state, found.attempt) for found in done} == {("done", 1)}
        assert one.worker.slots == 8
        calls = one.parts.metrics.steps._value.get()
        assert 100 * 4 / 8 <= calls < 100 * 4 / 1.5, "they shared model calls"


async def test_a_wish_that_cannot_be_made_fails_at_once_with_the_reason(tmp_path):
    async with one_worker(tmp_path) as one:
        bad = await one.send("FAULT")
        good = await one.send()

        found = await one.ended(bad)

        assert (found.state, found.attempt) == ("failed", 1)
        assert "NaN" in found.reason
        assert (await one.ended(good)).state == "done"
        assert json.loads(await one.parts.store.get(bad.manifest_key))["reason"] == found.reason
        assert await one.parts.queue.dead_letters() == []


async def test_out_of_memory_is_tried_again_alone(tmp_path):
    async with one_worker(tmp_path) as one:
        tight = await one.send("MEMORY")
        others = [await one.send(f"mug {k}") for k in range(4)]

        found = await one.ended(tight)

        assert (found.state, found.reason) == ("done", None)
        assert {(await one.ended(other)).state for other in others} == {"done"}
        assert one.parts.metrics.out_of_memory._value.get() == 1
        assert one.parts.metrics.retries._value.get() == 1


async def test_an_engine_that_breaks_gives_its_jobs_back_and_is_opened_anew(tmp_path):
    class Breaks(InstantStepper):
        opened = 0

        def __init__(self, model):
            super().__init__(model)
            Breaks.opened += 1

        def step(self, on_progress=None):
            if Breaks.opened == 1 and len(self._flights) > 1:
                raise RuntimeError("CUDA error: device-side assert triggered")
            return super().step(on_progress)

    async with one_worker(tmp_path, Breaks) as one:
        records = [await one.send(n=2), await one.send(n=2)]

        for record in records:
            assert (await one.ended(record)).state == "done"
        assert Breaks.opened == 2


async def test_an_engine_that_always_breaks_ends_the_worker_and_loses_no_job(tmp_path):
    class Broken(InstantStepper):
        def step(self, on_progress=None):
            raise RuntimeError("no GPU left")

    async with one_worker(tmp_path, Broken, max_attempts=10) as one:
        record = await one.send()

        with pytest.raises(GenerationError, match="again and again"):
            await one.running

        found = await one.parts.state.get(record.key)
        assert (found.state, found.attempt) == ("queued", 3)
        assert sum((await one.parts.queue.depths()).values()) + len(one.parts.queue._later) == 1


async def test_after_its_attempts_a_job_is_failed_and_a_dead_letter(tmp_path):
    class Tight(InstantStepper):
        def step(self, on_progress=None):
            self._refused.clear()
            return super().step(on_progress)

    async with one_worker(tmp_path, Tight, max_attempts=3) as one:
        record = await one.send("MEMORY")

        found = await one.ended(record)

        assert (found.state, found.attempt) == ("failed", 3)
        assert "3 attempts" in found.reason
        assert "out of memory" in found.reason
        await until(lambda: not one.parts.queue._out)
        (letter,) = await one.parts.queue.dead_letters()
        assert letter.record.key == record.key


async def test_a_model_that_cannot_be_opened_ends_the_start(tmp_path):
    def stepper(model):
        raise ModelError("no such folder")

    parts = parts_in(tmp_path)
    await parts.open()
    with pytest.raises(ModelError, match="no such folder"):
        await Worker(parts, stepper, "w1").run(asyncio.Event())
    await parts.close()


async def test_a_model_of_one_job_that_cannot_be_opened_fails_that_job(tmp_path):
    def stepper(model):
        if model != "builtin":
            raise ModelError(f"model {model!r}: no such folder")
        return InstantStepper(model)

    async with one_worker(tmp_path, stepper) as one:
        bad = await one.send(recipe={"model": "other"})

        found = await one.ended(bad)

        assert (found.state, found.reason) == ("failed", "model 'other': no such folder")
        assert (await one.ended(await one.send())).state == "done"
