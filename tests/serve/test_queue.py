"""The queue's contract, the same tests on every queue."""

import asyncio

import pytest
from pydantic import SecretStr

from teststrip.errors import StorageError
from teststrip.serve.queue.base import lane_of
from teststrip.serve.queue.memory import MemoryQueue

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.service)])
async def queue(request, tmp_path, namespace):
    if request.param == "memory":
        made = MemoryQueue(tmp_path / "dead.jsonl", max_length=20)
    else:
        from teststrip.serve.queue.rabbit import RabbitQueue

        url = SecretStr(request.getfixturevalue("broker_url"))
        made = RabbitQueue(url, namespace, max_length=20, delays_s=(0.2, 60))
    await made.open()
    yield made
    await made.close()


async def pulled(queue):
    """The next delivery, which must come."""
    delivery = await queue.pull(60)
    assert delivery is not None
    return delivery


async def is_empty(queue):
    return await queue.pull(0.05) is None


async def test_what_was_published_comes_once_and_whole(queue, a_job):
    job = a_job(owner="ann", labels={"a": "ä"}, seeds=(1, 2, 3))
    await queue.publish(job)
    depths = await queue.depths()
    assert {lane: n for lane, n in depths.items() if n} == {lane_of("api", "ann"): 1}
    delivery = await pulled(queue)
    assert delivery.record == job
    assert not delivery.redelivered
    await delivery.ack()
    assert await is_empty(queue)


async def test_one_owner_is_served_in_order(queue, a_job):
    jobs = [a_job(prompt=str(n)) for n in range(10)]
    for job in jobs:
        await queue.publish(job)
    assert [(await pulled(queue)).record for _ in jobs] == jobs


async def test_a_waiting_worker_is_woken(queue, a_job):
    pull = asyncio.ensure_future(queue.pull(60))
    await asyncio.sleep(0)
    await queue.publish(job := a_job())
    assert (await pull).record == job


async def test_a_person_passes_a_sweep(queue, a_job):
    for _ in range(15):
        await queue.publish(a_job(priority="sweep"))
    await (await pulled(queue)).ack()
    await queue.publish(a_job(priority="people"))
    assert "people" in [(await pulled(queue)).record.priority for _ in range(2)]


async def test_back_comes_again_as_it_was_given(queue, a_job):
    await queue.publish(job := a_job())
    delivery = await pulled(queue)
    await delivery.back(job.changed(attempt=1), delay_s=0.1)
    again = await pulled(queue)
    assert again.record.attempt == 1
    await again.back(again.record)
    await (await pulled(queue)).ack()
    assert await is_empty(queue)


async def test_released_is_the_first_again_and_no_failure(queue, a_job):
    first, second = a_job(), a_job()
    await queue.publish(first)
    await queue.publish(second)
    await (await pulled(queue)).release()
    again = await pulled(queue)
    assert again.record == first
    assert not again.redelivered


async def test_a_delivery_ends_once(queue, a_job):
    await queue.publish(a_job())
    delivery = await pulled(queue)
    await delivery.ack()
    with pytest.raises(StorageError, match="ended before"):
        await delivery.release()
    assert await is_empty(queue)


async def test_dead_letters_are_told_once_and_stay_listed(queue, a_job):
    await queue.publish(job := a_job())
    await (await pulled(queue)).dead(job.changed(attempt=4), "the store was away")
    assert await is_empty(queue)
    told = await queue.take_dead()
    assert told.record.reason == "the store was away"
    assert told.record.key == job.key
    await told.release()
    await (await queue.take_dead()).ack()
    assert await queue.take_dead() is None
    (letter,) = await queue.dead_letters()
    assert letter.reason == "the store was away"
    assert letter.record.attempt == 4
    assert letter.died == pytest.approx(job.accepted, abs=60)


async def test_a_dead_letter_is_queued_anew(queue, a_job):
    jobs = [a_job() for _ in range(3)]
    for job in jobs:
        await queue.publish(job)
        await (await pulled(queue)).dead(job.changed(attempt=4, reason="why"), "why")
    while told := await queue.take_dead():
        await told.ack()
    assert await queue.requeue_dead("0" * 32) is None
    record = await queue.requeue_dead(jobs[1].key)
    assert (record.key, record.attempt, record.reason) == (jobs[1].key, 0, None)
    assert (await pulled(queue)).record == record
    assert [one.record.key for one in await queue.dead_letters()] == [jobs[0].key, jobs[2].key]
    assert [one.record.key for one in await queue.dead_letters(limit=1)] == [jobs[0].key]


async def test_a_full_lane_refuses(queue, a_job):
    async def fill():
        for _ in range(40):  # RabbitMQ takes a few more than it is told
            await queue.publish(a_job(owner="ann"))

    with pytest.raises(StorageError, match="full"):
        await fill()
    assert 20 <= (await queue.depths())[lane_of("api", "ann")] < 40
    await queue.publish(a_job(owner="ann", priority="people"))
    assert (await pulled(queue)).record.priority == "people"


async def test_a_pull_that_is_cancelled_loses_nothing(queue, a_job):
    for _ in range(20):
        pull = asyncio.ensure_future(queue.pull(60))
        await asyncio.sleep(0)
        await queue.publish(job := a_job())
        pull.cancel()
        try:
            delivery = await pull
        except asyncio.CancelledError:
            delivery = await pulled(queue)
        assert delivery.record == job
        await delivery.ack()


async def test_closed_and_opened_again(queue, a_job):
    assert await queue.is_ready()
    await queue.publish(job := a_job())
    await pulled(queue)
    await queue.close()
    assert not await queue.is_ready()
    with pytest.raises(StorageError, match="closed"):
        await queue.publish(job)
    await queue.open()
    assert (await pulled(queue)).record == job
