"""The sweeper on RabbitMQ, Redis and S3: what crashes leave behind there, and dead letters."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pydantic import SecretStr

from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.operate.dead import requeue
from teststrip.serve.operate.sweeper import Sweeper
from teststrip.serve.parts import Parts
from teststrip.serve.queue.rabbit import RabbitQueue
from teststrip.serve.state.redis import RedisState
from teststrip.serve.store.s3 import S3Store

pytestmark = [pytest.mark.anyio, pytest.mark.service]


@pytest.fixture
async def parts(tmp_path, broker_url, redis_url, s3, namespace) -> AsyncIterator[Parts]:
    parts = Parts(
        home=tmp_path,
        config=ServiceConfig(
            broker=broker_url, redis=redis_url, secret="a secret of the tests", max_attempts=2
        ),
        ids=JobIds(b"a secret of the tests alone"),
        state=RedisState(SecretStr(redis_url), namespace),
        store=S3Store(s3.bucket, endpoint=s3.endpoint),
        queue=RabbitQueue(SecretStr(broker_url), namespace, delivery_limit=1),
    )
    await parts.open()
    yield parts
    await parts.close()


@pytest.fixture
def sweeper(parts) -> Sweeper:
    return Sweeper(parts, "one")


async def until(found: Callable[[], Awaitable[bool]], sweeper: Sweeper) -> None:
    """Sweep until it is so."""
    while not await found():
        await sweeper.sweep()
        await asyncio.sleep(0.02)


async def test_a_job_that_never_reached_the_broker_is_published(parts, sweeper, a_job) -> None:
    record = (await parts.state.create(a_job(accepted=time.time() - 60))).record

    await sweeper.sweep()

    delivery = await parts.queue.pull(10)
    assert delivery.record.key == record.key
    await delivery.ack()
    assert (await parts.state.get(record.key)).published


async def test_a_hanging_workers_job_goes_to_another_while_it_holds_the_message(
    parts, sweeper, a_job
) -> None:
    record = (await parts.state.create(a_job())).record
    await parts.queue.publish(record)
    held = await parts.queue.pull(10)  # never ended: this worker hangs
    await parts.state.claim(held.record, "hanging", 0.0)

    await sweeper.sweep()
    await sweeper.sweep()
    second = await parts.queue.pull(10)

    assert second.record.key == record.key
    claimed = await parts.state.claim(second.record, "living", 60)
    assert (claimed.attempt, claimed.worker) == (2, "living")
    await parts.state.move(record.key, claimed.fence, "done")
    await second.ack()
    assert await parts.state.claim(held.record, "hanging", 60) is None
    await held.ack()


async def test_a_message_that_the_broker_gave_up_is_a_failed_job_with_a_true_reason(
    parts, sweeper, a_job, broker_url, namespace
) -> None:
    record = (await parts.state.create(a_job())).record
    await parts.queue.publish(record)
    for _ in range(2):  # two workers take it and vanish with their connections
        worker = RabbitQueue(SecretStr(broker_url), namespace, delivery_limit=1)
        await worker.open()
        taken = await worker.pull(10)
        assert taken.record.key == record.key
        await parts.state.claim(taken.record, "worker", 0.0)
        await worker._link._wire.connection.close()
        await worker.close()

    async def is_failed() -> bool:
        return (await parts.state.get(record.key)).state == "failed"

    await until(is_failed, sweeper)
    failed = await parts.state.get(record.key)
    assert "worker" in failed.reason
    assert "died" in failed.reason
    manifest = json.loads(await parts.store.get(record.manifest_key))
    assert (manifest["state"], manifest["reason"]) == ("failed", failed.reason)


async def test_a_dead_letter_is_told_listed_and_queued_again(parts, sweeper, a_job) -> None:
    record = (await parts.state.create(a_job())).record
    await parts.queue.publish(record)
    delivery = await parts.queue.pull(10)
    await delivery.dead(delivery.record, "the store was away")

    async def is_failed() -> bool:
        return (await parts.state.get(record.key)).state == "failed"

    await until(is_failed, sweeper)
    assert (await parts.state.get(record.key)).reason == "the store was away"
    assert [one.reason for one in await parts.queue.dead_letters()] == ["the store was away"]
    await sweeper.sweep()
    assert parts.metrics.registry.get_sample_value("teststrip_dead_letters") == 1
    await requeue(parts, record.key)
    again = await parts.queue.pull(10)
    assert (await parts.state.claim(again.record, "worker", 60)).attempt == 1
    await again.ack()
    assert await parts.queue.dead_letters() == []


async def test_expired_pictures_leave_the_bucket(parts, sweeper, a_job) -> None:
    record = (await parts.state.create(a_job())).record
    claimed = await parts.state.claim(record, "worker", 60)
    await parts.store.put(record.image_key(0), b"picture", "image/png")
    await parts.store.put(record.manifest_key, b"{}", "application/json")
    await parts.state.move(record.key, claimed.fence, "done", expires=time.time() - 1)

    await sweeper.sweep()

    assert (await parts.state.get(record.key)).state == "expired"
    assert [s.key async for s in parts.store.below("jobs")] == []


async def test_only_one_of_two_processes_sweeps(parts, sweeper, a_job) -> None:
    await sweeper.sweep()
    await parts.state.create(a_job(accepted=time.time() - 60))

    await Sweeper(parts, "two").sweep()

    assert sum((await parts.queue.depths()).values()) == 0
