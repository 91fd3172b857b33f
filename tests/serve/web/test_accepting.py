"""Whoever is told that a job was accepted can rely on it, whatever other tries are under way."""

import asyncio

import pytest

from teststrip.errors import StorageError
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.web import accepting
from teststrip.serve.web.callers import LOCAL
from teststrip.serve.web.schemas import Wish

pytestmark = pytest.mark.anyio


class Hanging(MemoryQueue):
    """The first publish hangs until it is told to fail; all later ones work."""

    def __init__(self):
        super().__init__()
        self.asked, self.fails = asyncio.Event(), asyncio.Event()

    async def publish(self, record):
        if not self.asked.is_set():
            self.asked.set()
            await self.fails.wait()
            raise StorageError("the broker is away")
        await super().publish(record)


@pytest.fixture
async def hanging(web):
    queue = Hanging()
    await queue.open()
    object.__setattr__(web.parts, "queue", queue)
    return queue


async def post(web):
    return await web.client.post(
        "/api/jobs", json={"prompt": "a cat"}, headers={"Idempotency-Key": "one"}
    )


async def both_after_the_first_failed(web, queue):
    first = asyncio.create_task(post(web))
    await queue.asked.wait()
    second = asyncio.create_task(post(web))
    if accepting.OTHER_TRY_S:
        await asyncio.sleep(0.1)
        assert not second.done(), "nothing is promised yet"
    else:
        await second
    queue.fails.set()
    return await first, await second


async def test_a_second_try_is_promised_nothing_before_the_job_is_queued(web, hanging):
    first, second = await both_after_the_first_failed(web, hanging)

    assert (first.status_code, second.status_code) == (503, 202)
    record = await web.record(second.json())
    assert record.published
    assert (await hanging.pull(1)).record.key == record.key
    assert await hanging.pull(0) is None


async def test_a_second_try_that_waits_too_long_queues_it_itself(web, hanging, monkeypatch):
    monkeypatch.setattr(accepting, "OTHER_TRY_S", 0)

    first, second = await both_after_the_first_failed(web, hanging)

    assert (first.status_code, second.status_code) == (503, 200)
    assert (await web.record(second.json())).published, "the first try leaves it alone"
    assert (await hanging.pull(1)).record.key == (await web.record(second.json())).key


async def test_chance_seeds_of_a_repeated_key_are_the_same_even_where_no_record_is_left(web):
    async def seeds(key):
        made = await accepting.fixed(
            web.parts, web.app.state.catalog, LOCAL, Wish(prompt="a cat", n=2), key
        )
        return made.seeds

    assert await seeds("two") == await seeds("two")
    assert (
        len({await seeds("two"), await seeds("three"), await seeds(None), await seeds(None)}) == 4
    )
