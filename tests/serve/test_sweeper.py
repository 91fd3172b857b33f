"""The sweeper mends what crashes leave behind: on real parts of one process."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator

import pytest

from teststrip.errors import StorageError
from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.operate import ending
from teststrip.serve.operate import sweeper as sweeping
from teststrip.serve.operate.sweeper import Sweeper
from teststrip.serve.parts import Parts
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore

pytestmark = pytest.mark.anyio
TTL_S = 1000.0


@pytest.fixture
async def parts(tmp_path) -> AsyncIterator[Parts]:
    parts = Parts(
        home=tmp_path,
        config=ServiceConfig(max_attempts=2, sweep_s=0.02, result_ttl_s=TTL_S),
        ids=JobIds(b"a secret of the tests alone"),
        state=SqliteState(tmp_path / "state.sqlite", result_ttl_s=TTL_S),
        store=FolderStore(tmp_path / "images"),
        queue=MemoryQueue(),
    )
    await parts.open()
    yield parts
    await parts.close()


@pytest.fixture
def sweeper(parts) -> Sweeper:
    return Sweeper(parts, "one")


@pytest.fixture
def put(parts, a_job):
    """A job that was accepted and published, unless told otherwise."""

    async def make(publish=True, **fields):
        record = (await parts.state.create(a_job(**fields))).record
        if publish:
            await parts.queue.publish(record)
            await parts.state.published(record.key)
        return record

    return make


def swept(parts: Parts, what: str) -> float:
    return parts.metrics.registry.get_sample_value("teststrip_swept_total", {"what": what}) or 0.0


async def manifest(parts: Parts, record) -> dict:
    return json.loads(await parts.store.get(record.manifest_key))


async def test_a_job_that_never_reached_the_queue_is_published(parts, sweeper, put) -> None:
    lost = await put(publish=False, accepted=time.time() - 60)
    fresh = await put(publish=False)

    await sweeper.sweep()

    taken = await parts.queue.pull(0)
    assert taken.record.key == lost.key
    assert await parts.queue.pull(0) is None
    assert (await parts.state.get(lost.key)).published
    assert not (await parts.state.get(fresh.key)).published
    assert swept(parts, "published") == 1


async def test_a_job_whose_worker_fell_silent_is_queued_again_at_the_second_look(
    parts, sweeper, put
) -> None:
    record = await put()
    await parts.queue.pull(0)  # and the worker hangs: it never ends its delivery
    claimed = await parts.state.claim(record, "worker", 0.0)

    await sweeper.sweep()
    assert (await parts.state.get(record.key)).state == "running"
    await sweeper.sweep()

    again = await parts.state.get(record.key)
    assert (again.state, again.attempt, again.reason, again.published) == ("queued", 1, None, True)
    assert (await parts.queue.pull(0)).record.key == record.key
    assert swept(parts, "lease") == 1
    # the hanging worker wakes up with all pictures made: that is as good as made again
    assert (await parts.state.move(record.key, claimed.fence, "done")).state == "done"
    assert await parts.state.claim(record, "another", 60) is None


async def test_a_worker_that_beats_between_two_looks_keeps_its_job(parts, sweeper, put) -> None:
    record = await put()
    claimed = await parts.state.claim(record, "worker", 0.0)

    await sweeper.sweep()
    assert await parts.state.beat(record.key, claimed.fence, 0.0, 1) is not None
    await sweeper.sweep()

    assert (await parts.state.get(record.key)).state == "running"


async def test_a_job_that_ends_its_workers_is_failed_within_its_attempts(
    parts, sweeper, put
) -> None:
    record = await put()
    for _ in range(2):
        await parts.state.claim(record, "worker", 0.0)
        await sweeper.sweep()
        await sweeper.sweep()

    failed = await parts.state.get(record.key)
    assert (failed.state, failed.reason) == ("failed", "its worker died 2 times while making it")
    assert (await manifest(parts, record))["state"] == "failed"


async def test_a_job_to_be_cancelled_whose_worker_died_is_cancelled(parts, sweeper, put) -> None:
    record = await put(webhook="https://example.org/hook")
    await parts.state.claim(record, "worker", 0.0)
    await parts.state.ask_cancel(record.key)

    await sweeper.sweep()
    await sweeper.sweep()

    assert (await parts.state.get(record.key)).state == "cancelled"
    assert await parts.state.things("webhook:") != {}


async def test_a_message_that_the_queue_lost_is_published_again(
    parts, sweeper, put, monkeypatch
) -> None:
    record = await put()
    await parts.queue.pull(0)  # and it is gone with whoever took it

    await sweeper.sweep()
    assert sum((await parts.queue.depths()).values()) == 0  # a retry may just be on its way
    monkeypatch.setattr(sweeping, "LOST_S", -1.0)
    await sweeper.sweep()

    assert (await parts.queue.pull(0)).record.key == record.key
    assert swept(parts, "lost") == 1


async def test_a_job_that_waits_behind_others_is_not_taken_for_lost(
    parts, sweeper, put, monkeypatch
) -> None:
    await put()
    monkeypatch.setattr(sweeping, "LOST_S", -1.0)

    await sweeper.sweep()
    await sweeper.sweep()

    assert sum((await parts.queue.depths()).values()) == 1


async def test_a_dead_letter_becomes_a_failed_job_with_its_reason(parts, sweeper, put) -> None:
    record = await put()
    delivery = await parts.queue.pull(0)
    await delivery.dead(delivery.record, "the store was away for two minutes")

    await sweeper.sweep()

    failed = await parts.state.get(record.key)
    assert (failed.state, failed.reason) == ("failed", "the store was away for two minutes")
    assert (await manifest(parts, record))["reason"] == "the store was away for two minutes"
    assert [one.record.key for one in await parts.queue.dead_letters()] == [record.key]
    assert await parts.queue.take_dead() is None
    assert swept(parts, "dead") == 1


async def test_a_dead_letter_whose_record_was_lost_is_told_all_the_same(
    parts, sweeper, a_job
) -> None:
    await parts.queue.publish(a_job())
    delivery = await parts.queue.pull(0)
    await delivery.dead(delivery.record, "poison")

    await sweeper.sweep()

    assert (await parts.state.get(delivery.record.key)).reason == "poison"


async def test_a_dead_letter_of_a_job_that_is_being_made_waits(parts, sweeper, put) -> None:
    record = await put()
    claimed = await parts.state.claim(record, "worker", 60)
    delivery = await parts.queue.pull(0)
    await delivery.dead(delivery.record, "delivered too often")

    await sweeper.sweep()
    assert (await parts.state.get(record.key)).state == "running"
    await parts.state.move(record.key, claimed.fence, "done")
    await sweeper.sweep()

    assert (await parts.state.get(record.key)).state == "done"
    assert await parts.queue.take_dead() is None


async def test_pictures_of_an_expired_job_are_removed(parts, sweeper, put) -> None:
    record = await put()
    kept = await put()
    for one, expires in ((record, time.time() - 1), (kept, time.time() + 600)):
        claimed = await parts.state.claim(one, "worker", 60)
        await parts.store.put(one.image_key(0), b"picture", "image/png")
        await parts.state.move(one.key, claimed.fence, "done", expires=expires)

    await sweeper.sweep()

    assert (await parts.state.get(record.key)).state == "expired"
    assert [s.key async for s in parts.store.below("jobs")] == [kept.image_key(0)]


async def test_objects_whose_record_is_gone_go_by_their_age(parts, sweeper, put, tmp_path) -> None:
    known = await put()
    old = time.time() - TTL_S - 60
    for key, age in (("a" * 32, old), ("b" * 32, None), (known.key, old)):
        await parts.store.put(f"jobs/{key}/0.png", b"x", "image/png")
        if age is not None:
            os.utime(tmp_path / "images" / "jobs" / key / "0.png", (age, age))

    await sweeper.sweep()

    left = {s.key.split("/")[1] async for s in parts.store.below("jobs")}
    assert left == {"b" * 32, known.key}
    assert swept(parts, "orphans") == 1


async def test_only_one_process_sweeps(parts, sweeper, put) -> None:
    await sweeper.sweep()
    await put(publish=False, accepted=time.time() - 60)

    await Sweeper(parts, "two").sweep()
    assert await parts.queue.pull(0) is None
    await sweeper.sweep()

    assert await parts.queue.pull(0) is not None


async def test_it_counts_what_waits(parts, sweeper, put) -> None:
    await put(priority="people")
    await put(priority="sweep")
    await put(priority="sweep")

    await sweeper.sweep()

    read = parts.metrics.registry.get_sample_value
    assert read("teststrip_queue_depth", {"priority": "people"}) == 1
    assert read("teststrip_queue_depth", {"priority": "sweep"}) == 2


async def test_a_store_that_is_away_harms_no_other_duty_and_is_told_once(
    parts, sweeper, put, monkeypatch, caplog
) -> None:
    record = await put()
    claimed = await parts.state.claim(record, "worker", 60)
    await parts.state.move(record.key, claimed.fence, "done", expires=time.time() - 1)
    await put(publish=False, accepted=time.time() - 60, owner="another")

    async def away(prefix):
        raise StorageError("the store is away")

    monkeypatch.setattr(parts.store, "delete", away)
    await sweeper.sweep()
    await sweeper.sweep()

    assert swept(parts, "published") == 1
    assert (await parts.state.get(record.key)).state == "done"
    assert caplog.text.count("the store is away") == 1
    monkeypatch.undo()
    await sweeper.sweep()
    assert (await parts.state.get(record.key)).state == "expired"


async def test_a_store_that_hangs_costs_a_failed_job_its_manifest_alone(
    parts, sweeper, put, monkeypatch
) -> None:
    async def hang(*args, **more):
        await asyncio.Event().wait()

    monkeypatch.setattr(parts.store, "put", hang)
    monkeypatch.setattr(ending, "PATIENCE_S", 0.01)
    record = await put()
    delivery = await parts.queue.pull(0)
    await delivery.dead(delivery.record, "poison")

    await sweeper.sweep()

    assert (await parts.state.get(record.key)).reason == "poison"


async def test_it_runs_until_it_is_told_to_stop(parts, sweeper, put) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(sweeper.run(stop))
    record = await put(publish=False, accepted=time.time() - 60)

    while not (await parts.state.get(record.key)).published:
        await asyncio.sleep(0.01)
    stop.set()
    await running
