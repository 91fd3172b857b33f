"""A worker whose store, state or queue is away for a while, or has lost what it knew."""

import asyncio
import sqlite3
from contextlib import closing

import pytest

from teststrip.errors import StorageError
from teststrip.serve.operate.ending import last_record, tell_ended
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.worker import worker
from teststrip.testing.instant import InstantStepper
from teststrip.testing.one_worker import one_worker, parts_in

pytestmark = pytest.mark.anyio


def slow(model):
    return InstantStepper(model, step_s=0.02)


async def until(true):
    while not true():
        await asyncio.sleep(0.002)


class Away(FolderStore):
    """A folder that refuses until `back` is set."""

    def __init__(self, root):
        super().__init__(root)
        self.back = asyncio.Event()
        self.refused = 0

    async def put(self, *args, **options):
        if not self.back.is_set():
            self.refused += 1
            raise StorageError("the store is away")
        return await super().put(*args, **options)


async def test_pictures_wait_for_a_store_that_is_away_while_others_are_made(tmp_path):
    parts = parts_in(tmp_path, lease_s=1)
    object.__setattr__(parts, "store", Away(tmp_path / "images"))
    async with one_worker(tmp_path, InstantStepper, parts) as one:
        records = [await one.send(f"mug {k}") for k in range(6)]
        await until(lambda: one.worker._pictures.held == 6)  # all are made, none is stored
        first = await parts.state.get(records[0].key)
        await until(lambda: parts.store.refused > 20)

        parts.store.back.set()
        ended = [await one.ended(record) for record in records]

        assert {(found.state, found.attempt) for found in ended} == {("done", 1)}
        assert ended[0].fence == first.fence, "its lease was kept all the while"


async def test_a_store_that_stays_away_costs_an_attempt_and_no_suspicion(tmp_path):
    parts = parts_in(tmp_path, patience_s=0.2, retry_base_s=0.3)
    object.__setattr__(parts, "store", Away(tmp_path / "images"))
    async with one_worker(tmp_path, InstantStepper, parts) as one:
        record = await one.send()
        while not (found := await parts.state.get(record.key)).reason:
            await asyncio.sleep(0.005)
        assert found.reason == "a server was away: the store is away"

        parts.store.back.set()
        found = await one.ended(record)

        assert found.state == "done"
        assert found.attempt >= 2


class StateAway(SqliteState):
    """A state that refuses all of a worker's calls while `away` is set."""

    away = False
    refused = 0

    async def _change(self, key, rule, **options):
        if self.away:
            self.refused += 1
            raise StorageError("the state is away")
        return await super()._change(key, rule, **options)


@pytest.fixture
def parts_with_state_away(tmp_path):
    parts = parts_in(tmp_path, lease_s=1)
    object.__setattr__(parts, "state", StateAway(tmp_path / "state.db"))
    return parts


async def test_a_job_goes_on_and_ends_while_the_state_is_away(tmp_path, parts_with_state_away):
    parts = parts_with_state_away
    async with one_worker(tmp_path, slow, parts) as one:
        record = await one.send(recipe={"steps": 50})
        await one.when(record, "running")
        parts.state.away = True
        while not await parts.store.size(record.image_key(0)):  # made and stored all the same
            await asyncio.sleep(0.01)
        await until(lambda: parts.state.refused > 5)

        parts.state.away = False
        found = await one.ended(record)

        assert (found.state, found.attempt) == ("done", 1)


async def test_a_job_is_claimed_when_the_state_is_back(tmp_path, parts_with_state_away):
    parts = parts_with_state_away
    async with one_worker(tmp_path, InstantStepper, parts) as one:
        record = one.job(prompt="a mug", seeds=(1,))
        await parts.state.create(record)
        parts.state.away = True
        await parts.queue.publish(record)
        await until(lambda: parts.state.refused > 3)

        parts.state.away = False

        assert (await one.ended(record)).attempt == 1


async def test_a_state_that_loses_a_running_job_gets_it_back(tmp_path):
    async with one_worker(tmp_path, slow) as one:
        record = await one.send(recipe={"steps": 60})
        running = await one.when(record, "running")
        with closing(sqlite3.connect(tmp_path / "state.db")) as other, other:
            other.execute("DELETE FROM jobs")

        found = await one.ended(record)

        assert (found.state, found.fence) == ("done", running.fence)
        assert found.images[0].key == record.image_key(0)


async def test_a_queue_that_refuses_for_a_while_is_asked_again(tmp_path):
    class Refusing(MemoryQueue):
        refused = 0

        async def pull(self, timeout_s):
            if Refusing.refused < 1:
                Refusing.refused += 1
                raise StorageError("the broker is away")
            return await super().pull(timeout_s)

    parts = parts_in(tmp_path)
    object.__setattr__(parts, "queue", Refusing())
    async with one_worker(tmp_path, InstantStepper, parts) as one:
        record = await one.send()

        assert (await one.ended(record)).state == "done"


@pytest.mark.parametrize("state", ["cancelled", "done", "failed"])
async def test_a_job_whose_record_was_lost_after_its_end_is_not_made_anew(tmp_path, state):
    async with one_worker(tmp_path) as one:
        parts = one.parts
        record = one.job(prompt="a mug", seeds=(1,))
        last = record.changed(state=state, ended=1.0)
        await tell_ended(parts, last)

        await parts.queue.publish(record)  # the message is there still, the state knows nothing
        found = await one.ended(record)

        # one that failed was queued anew by an operator
        assert found.state == ("done" if state == "failed" else state)
        assert len(found.images) == (1 if state == "failed" else 0)
        assert found.attempt == 1


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_cancelled_job_is_let_go_when_the_store_tells_it(tmp_path, monkeypatch, is_lost):
    monkeypatch.setattr(worker, "LOOK_AGAIN_S", 0.05)
    parts = parts_in(tmp_path)
    object.__setattr__(parts, "store", Away(tmp_path / "images"))
    async with one_worker(tmp_path, InstantStepper, parts) as one:
        record = one.job(prompt="a mug", seeds=(1,))
        if is_lost:  # its message holds the end, the state nothing
            record = record.changed(state="cancelled", ended=1.0)
        else:
            await parts.state.create(record)
            await parts.state.ask_cancel(record.key)
        await parts.queue.publish(record)
        await until(lambda: parts.store.refused > 3)

        parts.store.back.set()
        while (last := await last_record(parts, record.key)) is None:
            await asyncio.sleep(0.005)

        assert last.state == "cancelled"
        assert not last.images
