"""A worker that the queue starts ends by itself when there is nothing to do."""

import asyncio
import threading

import pytest

from teststrip.errors import StorageError
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.testing.instant import InstantStepper
from teststrip.testing.one_worker import one_worker

pytestmark = pytest.mark.anyio


async def test_without_jobs_it_ends_after_the_time_that_is_set(tmp_path):
    async with one_worker(tmp_path, idle_exit_s=0.01) as one:
        await one.running

        assert not one.stop.is_set()


async def test_what_it_holds_is_made_first(tmp_path):
    held = threading.Event()

    class Slow(InstantStepper):
        def step(self, count=1):
            held.wait()
            return super().step(count)

    async with one_worker(tmp_path, Slow, idle_exit_s=0.01) as one:
        record = await one.send()
        await one.when(record, "running")
        done, _ = await asyncio.wait({one.running}, timeout=1.5)  # longer than one pull takes
        assert not done, "it held a job"
        held.set()

        await one.running

        assert (await one.parts.state.get(record.key)).state == "done"


async def test_with_zero_it_waits_for_jobs(tmp_path):
    async with one_worker(tmp_path) as one:
        done, _ = await asyncio.wait({one.running}, timeout=1.5)

        assert not done


async def test_a_queue_that_is_away_is_not_an_empty_one(tmp_path, monkeypatch):
    asked = 0

    async def pull(self, wait_s):
        nonlocal asked
        asked += 1
        raise StorageError("away")

    monkeypatch.setattr(MemoryQueue, "pull", pull)
    async with one_worker(tmp_path, idle_exit_s=0.01) as one:
        while asked < 2:
            await asyncio.sleep(0.01)

        assert not one.running.done()
