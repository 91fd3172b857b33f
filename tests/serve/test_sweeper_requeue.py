"""An operator queues a dead job once more."""

from collections.abc import AsyncIterator

import pytest

from teststrip.errors import ConfigError, StorageError
from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.operate.dead import died, requeue, tell_dead
from teststrip.serve.parts import Parts
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore

pytestmark = pytest.mark.anyio


@pytest.fixture
async def parts(tmp_path) -> AsyncIterator[Parts]:
    parts = Parts(
        home=tmp_path,
        config=ServiceConfig(),
        ids=JobIds(b"a secret of the tests alone"),
        state=SqliteState(tmp_path / "state.sqlite"),
        store=FolderStore(tmp_path / "images"),
        queue=MemoryQueue(),
    )
    await parts.open()
    yield parts
    await parts.close()


@pytest.fixture
async def dead(parts, a_job):
    record = (await parts.state.create(a_job())).record
    await parts.queue.publish(record)
    delivery = await parts.queue.pull(0)
    claimed = await parts.state.claim(record, "worker", 60)
    await delivery.dead(claimed, "out of memory four times")
    await parts.state.move(record.key, claimed.fence, "failed", reason="out of memory four times")
    await tell_dead(parts)
    return record


async def test_it_is_made_as_if_it_had_never_been_tried(parts, dead) -> None:
    again = await requeue(parts, dead.key)

    assert (again.state, again.attempt, again.reason) == ("queued", 0, None)
    assert await parts.queue.dead_letters() == []
    delivery = await parts.queue.pull(0)
    assert delivery.record.key == dead.key
    claimed = await parts.state.claim(delivery.record, "worker", 60)
    assert (claimed.state, claimed.attempt, claimed.published) == ("running", 1, True)


async def test_a_failed_job_without_a_letter_is_published_too(parts, a_job) -> None:
    record = (await parts.state.create(a_job())).record
    await parts.state.move_any(record.key, record.version, "failed", reason=died(3))

    await requeue(parts, record.key)

    assert (await parts.queue.pull(0)).record.key == record.key


async def test_a_queue_that_is_away_leaves_a_job_that_the_sweeper_publishes(
    parts, dead, monkeypatch
) -> None:
    async def away(key):
        raise StorageError("no broker")

    monkeypatch.setattr(parts.queue, "requeue_dead", away)
    with pytest.raises(StorageError, match="no broker"):
        await requeue(parts, dead.key)

    assert [one.key for one in await parts.state.unpublished(0)] == [dead.key]


async def test_only_what_failed_can_be_queued_again(parts, a_job) -> None:
    record = (await parts.state.create(a_job())).record

    with pytest.raises(ConfigError, match="is queued; only failed jobs"):
        await requeue(parts, record.key)
    with pytest.raises(ConfigError, match="no job 'nothing'"):
        await requeue(parts, "nothing")


@pytest.mark.parametrize(
    ("attempts", "said"),
    [
        (0, "the queue gave it up"),
        (1, "its worker died once while making it"),
        (3, "its worker died 3 times while making it"),
    ],
)
async def test_the_reason_counts_the_attempts(attempts: int, said: str) -> None:
    assert died(attempts) == said
