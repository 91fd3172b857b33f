"""What the queue in RabbitMQ must survive: restarts, dying workers, poison, strangers' messages."""

import asyncio
import collections

import pytest
from pydantic import SecretStr

from teststrip.errors import ConfigError, StorageError
from teststrip.serve.queue.base import lane_of
from teststrip.serve.queue.rabbit import RabbitQueue
from teststrip.serve.queue.rabbit_messages import message_of

pytestmark = [pytest.mark.anyio, pytest.mark.service]


@pytest.fixture
async def opened(broker_url, namespace):
    """Opens queues, each with a connection of its own, as processes have."""
    queues = []

    async def make(**options):
        queue = RabbitQueue(SecretStr(broker_url), namespace, **options)
        await queue.open()
        queues.append(queue)
        return queue

    yield make
    for queue in queues:
        await queue.close()


@pytest.mark.timeout(1200)
async def test_nothing_is_lost_over_two_restarts(opened, services, a_job):
    web, workers = await opened(patience_s=120), [await opened(patience_s=120) for _ in range(2)]
    jobs = [a_job(owner=f"owner {n % 7}", prompt=str(n)) for n in range(2000)]
    confirmed, taken = set(), collections.Counter()

    async def publish(mine):
        for job in mine:
            await web.publish(job)
            confirmed.add(job.key)

    async def work(queue):
        while len(taken) < len(jobs):
            if (delivery := await queue.pull(1)) is None:
                continue
            taken[delivery.record.key] += 1
            try:
                await delivery.ack()
            except StorageError:  # its connection broke: it comes again
                assert not delivery._wire.is_alive

    async def restart():
        for share, how in ((0.2, ()), (0.6, ("--kill",))):
            while len(taken) < share * len(jobs):
                await asyncio.sleep(0.01)
            await services("restart", "broker", *how)

    await asyncio.gather(
        restart(), *(work(queue) for queue in workers), *(publish(jobs[n::4]) for n in range(4))
    )
    assert confirmed == set(taken) == {job.key for job in jobs}
    assert await web.pull(0) is None  # nothing that was acknowledged waits anew
    assert sum(taken.values()) < len(jobs) + 100  # twice only what was under way


async def test_what_a_dying_worker_held_goes_to_another(opened, a_job):
    dying, other = await opened(), await opened()
    await other.publish(job := a_job())
    assert not (await dying.pull(60)).redelivered
    await dying.close()
    delivery = await other.pull(60)
    assert delivery.record == job
    assert delivery.redelivered


async def test_what_a_drained_worker_held_is_no_failure(opened, a_job):
    web = await opened()
    for job in (jobs := [a_job() for _ in range(3)]):
        await web.publish(job)
    for _ in range(8):  # more often than the delivery limit
        worker = await opened(delivery_limit=5)
        taken = [await worker.pull(60) for _ in jobs]
        assert not any(delivery.redelivered for delivery in taken)
        for delivery in taken:
            await delivery.release()
        await worker.close()
    assert [(await web.pull(60)).record for _ in jobs] == jobs
    assert await web.take_dead() is None


async def test_poison_becomes_a_dead_letter(opened, a_job):
    web = await opened(delivery_limit=5)
    await web.publish(poison := a_job())
    deaths = 0
    while await web.dead_depth() == 0:
        worker = await opened(delivery_limit=5)
        deaths += await worker.pull(1) is not None
        await worker.close()
    assert deaths == 6
    told = await web.take_dead()
    assert told.record.key == poison.key
    assert "workers died" in told.record.reason
    await told.ack()
    (letter,) = await web.dead_letters()
    assert letter.reason == told.record.reason
    assert (await web.requeue_dead(poison.key)).attempt == 0
    assert not (await web.pull(60)).redelivered


async def test_a_person_passes_ten_thousand_sweep_jobs(opened, a_job):
    queue = await opened()
    sweep = a_job(owner="studies", priority="sweep")
    jobs = [sweep.model_copy(update={"key": f"{n:032x}"}) for n in range(10_000)]
    for n in range(0, len(jobs), 500):
        await asyncio.gather(*(queue.publish(job) for job in jobs[n : n + 500]))
    assert (await queue.depths())[lane_of("sweep", "studies")] == len(jobs)
    for _ in range(10):
        await (await queue.pull(60)).ack()
    await queue.publish(person := a_job(owner="ann", priority="people"))
    assert person in [(await queue.pull(60)).record for _ in range(2)]


async def test_dead_letters_of_two_web_processes_are_told_once(opened, a_job):
    one, two = await opened(), await opened()
    for _ in range(4):
        await one.publish(job := a_job())
        await (await one.pull(60)).dead(job, "why")
    told = [await queue.take_dead() for queue in (one, two, one, two)]
    assert len({delivery.record.key for delivery in told}) == 4
    assert await one.take_dead() is None
    await one.close()  # it dies before it has told
    again = {(await two.take_dead()).record.key for _ in range(2)}
    assert again == {told[0].record.key, told[2].record.key}


async def test_calls_that_are_cancelled_break_nothing(opened, a_job):
    queue, web = await opened(), await opened()
    await web.publish(held_job := a_job())
    held = await queue.pull(60)
    wire = queue._link._wire
    calls = [lambda: queue.pull(60), queue.depths, queue.is_ready, queue.take_dead]
    for n in range(60):
        call = asyncio.ensure_future(calls[n % len(calls)]())
        queue._looked = float("-inf")
        for _ in range(n):
            await asyncio.sleep(0)
        await asyncio.sleep(n / 10_000)
        call.cancel()
        await asyncio.wait([call])
        if not call.cancelled() and n % len(calls) == 0 and call.result():
            await call.result().release()
        if n % 20 == 0:
            await web.publish(a_job())
    assert queue._link._wire is wire
    assert wire.is_alive
    await held.ack()
    found = []
    while (delivery := await queue.pull(2)) is not None:
        found.append(delivery)
    assert len({one.record.key for one in found} - {held_job.key}) == len(found) == 3
    assert not any(one.redelivered for one in found)


async def test_a_lane_that_somebody_deleted_is_made_again(opened, a_job):
    queue = await opened()
    name = queue._topology.queue(lane_of("api", "local"))
    async with queue._link._wire.connection.channel() as channel:
        await channel.queue_delete(name)
    await queue.publish(job := a_job())
    assert (await queue.pull(60)).record == job


async def test_a_message_that_is_no_job_is_put_aside(opened, a_job, caplog):
    queue = await opened()
    for body in (b"no JSON", b'{"id": "x"}', b"\xff"):
        await queue._send(queue._topology.jobs, "api.0", message_of(body))
        await queue._send(queue._topology.dead, "", message_of(body))
    await queue.publish(job := a_job())
    delivery = None
    while delivery is None:
        delivery = await queue.pull(1)
    assert delivery.record == job
    assert await queue.take_dead() is None
    assert await queue.dead_letters() == []
    while await queue.pull(0.1) is not None:
        pytest.fail("more than the one job")
    assert await queue.dead_depth() == 6
    assert "is no job" in caplog.text


async def test_other_limits_than_the_queues_have_are_told(opened, a_job, caplog):
    await opened(max_length=10)
    queue = await opened(max_length=20)
    assert "keeps them" in caplog.text
    await queue.publish(a_job())
    assert await queue.pull(60) is not None


async def test_faults_of_the_address_are_told_without_its_password(broker_url, namespace, caplog):
    caplog.set_level("DEBUG")
    with pytest.raises(ConfigError, match="amqp://") as refused:
        RabbitQueue(SecretStr("redis://:geheim@localhost/"), namespace)
    wrong = broker_url.replace("teststrip:", "teststrip:geheim")
    queue = RabbitQueue(SecretStr(wrong), namespace, open_s=30)
    with pytest.raises(StorageError, match="refuses the user or the password") as kept_out:
        await queue.open()
    queue = RabbitQueue(SecretStr("amqp://me:geheim@127.0.0.1:1/"), namespace, open_s=0.3)
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:1 cannot be used") as away:
        await queue.open()
    assert not await queue.is_ready()
    assert "geheim" not in f"{refused.value} {kept_out.value} {away.value} {caplog.text}"
