"""One set of laws for every state: limits, leaders, workers' cards and small things."""

import asyncio
import time

import pytest

from teststrip.serve.state import ruled
from teststrip.serve.state.base import WorkerCard

pytestmark = pytest.mark.anyio


async def until(check):
    """Wait for what must come; the suite's own time limit ends it."""
    while not await check():
        await asyncio.sleep(0.01)


async def test_a_bucket_gives_what_it_holds_and_tells_when_more_comes(any_state):
    first = await any_state.take("ann", 3, per_s=0.001, burst=5)
    assert (first.ok, first.left, first.retry_s) == (True, 2, 0.0)
    refused = await any_state.take("ann", 4, per_s=0.001, burst=5)
    assert (refused.ok, refused.left) == (False, 2)
    assert 1900 < refused.retry_s <= 2000
    assert (await any_state.take("ann", 2, per_s=0.001, burst=5)).ok
    assert (await any_state.take("bob", 5, per_s=0.001, burst=5)).ok
    assert 0 < (await any_state.take("eve", 6, per_s=0, burst=5)).retry_s <= 86400


async def test_a_bucket_fills_again_up_to_its_burst(any_state):
    await any_state.take("ann", 5, per_s=1000, burst=5)

    async def is_full():
        return (await any_state.take("ann", 5, per_s=1000, burst=5)).ok

    await until(is_full)


async def test_of_many_takers_no_more_get_through_than_there_are_tokens(any_state):
    found = await asyncio.gather(*(any_state.take("b", 1, per_s=0, burst=7) for _ in range(30)))
    assert sum(answer.ok for answer in found) == 7


async def test_one_process_leads_until_its_time_is_over(any_state):
    assert await any_state.lead("a", 60)
    assert await any_state.lead("a", 60)
    assert not await any_state.lead("b", 60)
    assert await any_state.lead("a", 0)
    assert await any_state.lead("b", 60)
    assert not await any_state.lead("a", 60)


async def test_of_many_that_would_lead_one_does(any_state):
    found = await asyncio.gather(*(any_state.lead(f"p{n}", 60) for n in range(20)))
    assert sum(found) == 1


async def test_a_card_is_told_and_forgotten(any_state):
    card = WorkerCard(
        "w1", 4, 2, 100, 12.5, models={"builtin": {"fingerprint": "f", "defaults": {"steps": 20}}}
    )
    before = time.time()
    await any_state.tell(card, 60)
    await any_state.tell(WorkerCard("w2", 1, 0, 0, 0), 60)
    first, second = await any_state.workers()
    assert (first.name, first.models, first.calls_per_s) == ("w1", card.models, 12.5)
    assert first.told >= before - 1
    assert second.name == "w2"
    await any_state.tell(card, 0)
    assert [found.name for found in await any_state.workers()] == ["w2"]


async def test_small_things_are_kept_listed_and_dropped(any_state):
    for name in ("webhook:b", "webhook:a", "webhook", "feedback:1", "webhooks"):
        await any_state.put(name, name.encode() + b"\0\xff")
    found = await any_state.things("webhook:")
    assert found == {"webhook:a": b"webhook:a\0\xff", "webhook:b": b"webhook:b\0\xff"}
    assert list(found) == ["webhook:a", "webhook:b"]
    assert list(await any_state.things("webhook", limit=2)) == ["webhook", "webhook:a"]
    await any_state.put("webhook:a", b"new")
    await any_state.drop("webhook:b")
    await any_state.drop("never there")
    assert await any_state.things("webhook:") == {"webhook:a": b"new"}
    assert len(await any_state.things("")) == 4


async def test_a_thing_is_forgotten_when_its_time_is_over(any_state):
    await any_state.put("x:1", b"1", ttl_s=60)
    await any_state.put("x:2", b"2", ttl_s=0)
    assert await any_state.things("x:") == {"x:1": b"1"}
    await any_state.put("x:1", b"1", ttl_s=0.01)

    async def is_gone():
        return not await any_state.things("x:")

    await until(is_gone)
    await any_state.put("x:1", b"for good")
    assert await any_state.things("x:") == {"x:1": b"for good"}


async def test_the_newest_preview_is_kept(any_state):
    assert await any_state.preview("k", 0) is None
    await any_state.preview("k", 0, b"RIFF1")
    await any_state.preview("k", 0, b"RIFF2")
    await any_state.preview("k", 1, b"other")
    assert await any_state.preview("k", 0) == b"RIFF2"
    assert await any_state.things("") == {}


async def test_previews_stay_a_minute_after_the_end(any_state, a_job, monkeypatch):
    monkeypatch.setattr(ruled, "PREVIEW_AFTER_S", 0.001)
    record, other = a_job(), a_job()
    for job in (record, other):
        claim = await any_state.claim(job, "w", 60)
        await any_state.preview(job.key, 0, b"RIFF")
        await any_state.beat(job.key, claim.fence, 60, 1)
        assert await any_state.preview(job.key, 0) == b"RIFF"
    claim = await any_state.get(record.key)
    await any_state.move(record.key, claim.fence, "done")

    async def is_gone():
        return await any_state.preview(record.key, 0) is None

    await until(is_gone)
    assert await any_state.preview(other.key, 0) == b"RIFF"


async def test_the_last_job_of_a_body_is_remembered_by_owner(any_state):
    assert await any_state.recent("ann", "h", None, 60) is None
    assert await any_state.recent("ann", "h", "key1", 60) == "key1"
    await any_state.recent("ann", "h", "key2", 60)
    assert await any_state.recent("ann", "h", None, 60) == "key2"
    assert await any_state.recent("bob", "h", None, 60) is None
    await any_state.recent("ann", "h", "key3", 0)
    assert await any_state.recent("ann", "h", None, 60) is None


async def test_it_tells_that_it_is_ready(any_state):
    assert await any_state.is_ready()
    await any_state.close()
    assert not await any_state.is_ready()
    await any_state.open()
    assert await any_state.is_ready()
