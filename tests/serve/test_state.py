"""One set of laws for every state: records, claims, moves, lists."""

import asyncio

import pytest

from teststrip.errors import ConfigError
from teststrip.serve.jobs.job import Image
from teststrip.serve.jobs.states import IllegalMove
from teststrip.serve.queue.base import lane_of

pytestmark = pytest.mark.anyio


def an_image(index=0, seed=1):
    return Image(index=index, seed=seed, key=f"jobs/x/{index}.png", sha256="ab" * 32, bytes=10)


async def running(state, record, lease_s=60.0):
    await state.create(record)
    return await state.claim(record, "w1", lease_s)


async def test_a_job_comes_back_as_it_was(any_state, a_job):
    record = a_job(
        prompt="naïve\u2028 \0 'quoted' \U0001f431",
        seeds=(0, 2**32 - 1, 2**53 + 1),
        labels={"study": "s1"},
        accepted=1_763_766_310.123456,
    )
    created = await any_state.create(record)
    assert created.is_new
    assert created.record == record
    assert await any_state.get(record.key) == record
    assert await any_state.get("0" * 32) is None


async def test_a_known_key_gives_the_job_that_is_there(any_state, a_job):
    first = a_job(body_hash="one")
    await any_state.create(first)
    again = await any_state.create(a_job(key=first.key, body_hash="two"))
    assert not again.is_new
    assert again.record == first


async def test_what_changed_elsewhere_since_it_was_created_stays(open_state, a_job):
    here, there = open_state(), open_state()
    for state in (here, there):
        await state.open()
    claimed, cancelled, removed = a_job(), a_job(), a_job()
    for record in (claimed, cancelled, removed):
        await here.create(record)
    claim = await there.claim(claimed, "w1", 60)
    ended = await there.ask_cancel(cancelled.key)
    await there.remove(removed.key)
    for record in (claimed, cancelled, removed):
        await here.published(record.key)
    assert await here.get(claimed.key) == claim
    assert (await here.get(cancelled.key)).state == ended.state == "cancelled"
    assert await here.get(removed.key) is None
    assert (await here.create(claimed)).record == claim
    assert (await here.create(removed)).is_new
    for state in (here, there):
        await state.close()


async def test_of_many_that_create_one_key_one_is_new(open_state, a_job):
    states = [open_state() for _ in range(3)]
    for state in states:
        await state.open()
    key = a_job().key
    found = await asyncio.gather(*(states[n % 3].create(a_job(key=key)) for n in range(30)))
    assert sum(created.is_new for created in found) == 1
    assert len({created.record.id for created in found}) == 1
    for state in states:
        await state.close()


async def test_of_many_that_claim_exactly_one_wins(open_state, a_job):
    states = [open_state() for _ in range(3)]
    for state in states:
        await state.open()
    record = a_job()
    await states[0].create(record)
    won = await asyncio.gather(*(states[n % 3].claim(record, f"w{n % 5}", 60) for n in range(40)))
    (winner,) = [claim for claim in won if claim is not None]
    assert await states[0].get(record.key) == winner
    assert winner.attempt == 1
    for state in states:
        await state.close()


async def test_a_claim_notes_who_when_and_how_often(any_state, a_job):
    record = a_job()
    claim = await running(any_state, record)
    assert (claim.state, claim.worker, claim.attempt) == ("running", "w1", 1)
    assert claim.published  # it came out of the queue
    assert claim.lease_until > claim.started > record.accepted - 1
    assert claim.version > record.version


async def test_a_lease_that_lives_is_respected_and_one_that_ran_out_is_not(any_state, a_job):
    record = a_job()
    first = await running(any_state, record)
    assert await any_state.claim(record, "w1", 60) is None  # also by oneself
    assert await any_state.claim(record, "w2", 60) is None
    await any_state.beat(record.key, first.fence, 0, 0)  # the lease ends now
    second = await any_state.claim(record, "w2", 60)
    assert second.fence > first.fence
    assert second.attempt == 2
    assert second.started == first.started


async def test_who_lost_the_claim_can_write_no_more(any_state, a_job):
    record = a_job()
    old = await running(any_state, record, lease_s=0)
    new = await any_state.claim(record, "w2", 60)
    assert await any_state.beat(record.key, old.fence, 60, 5) is None
    assert await any_state.move(record.key, old.fence, "done") is None
    assert await any_state.get(record.key) == new


async def test_a_beat_prolongs_the_lease_and_adds_images(any_state, a_job):
    record = a_job(seeds=(1, 2, 3))
    claim = await running(any_state, record, lease_s=0)
    await any_state.beat(record.key, claim.fence, 60, 7, [an_image(2)])
    beat = await any_state.beat(record.key, claim.fence, 60, 9, [an_image(0)])
    assert [image.index for image in beat.images] == [0, 2]
    assert beat.calls_done == 9
    assert beat.lease_until > claim.lease_until
    assert await any_state.stale() == []
    assert await any_state.get(record.key) == beat


async def test_an_end_is_told_once_and_told_again_harmlessly(any_state, a_job):
    record = a_job()
    claim = await running(any_state, record)
    done = await any_state.move(record.key, claim.fence, "done", images=(an_image(),))
    assert (done.state, done.calls_done, len(done.images)) == ("done", record.calls_total, 1)
    assert done.expires > done.ended >= done.started
    assert await any_state.move(record.key, claim.fence, "done") == done
    assert await any_state.claim(record, "w2", 60) is None
    assert await any_state.beat(record.key, claim.fence, 60, 1) is None
    with pytest.raises(IllegalMove):
        await any_state.move(record.key, claim.fence, "running")
    assert await any_state.get(record.key) == done


async def test_what_is_fixed_cannot_be_moved(any_state, a_job):
    record = a_job()
    claim = await running(any_state, record)
    for wrong in ({"owner": "eve"}, {"fence": 1}, {"nonsense": 1}):
        with pytest.raises(TypeError):
            await any_state.move(record.key, claim.fence, "done", **wrong)
    assert await any_state.get(record.key) == claim


async def test_a_job_given_back_is_queued_with_its_reason(any_state, a_job):
    record = a_job(seeds=(1, 2))
    claim = await running(any_state, record)
    await any_state.beat(record.key, claim.fence, 60, 30, [an_image()])
    back = await any_state.move(record.key, claim.fence, "queued", reason="store away", attempt=0)
    assert (back.state, back.worker, back.attempt, back.lease_until) == ("queued", "", 0, 0)
    assert back.calls_done == record.recipe.model_calls
    assert len(back.images) == 1
    assert [job.key for job in await any_state.waiting()] == [record.key]
    assert (await any_state.claim(record, "w2", 60)).fence > claim.fence


async def test_a_queued_job_is_cancelled_at_once(any_state, a_job):
    record = a_job()
    await any_state.create(record)
    cancelled = await any_state.ask_cancel(record.key)
    assert cancelled.state == "cancelled"
    assert cancelled.expires > cancelled.ended
    assert await any_state.claim(record, "w1", 60) is None
    assert await any_state.waiting() == []
    assert await any_state.ask_cancel(record.key) == cancelled
    assert await any_state.ask_cancel("0" * 32) is None


async def test_a_running_job_is_marked_and_its_worker_told(any_state, a_job):
    record, other = a_job(), a_job()
    claim = await running(any_state, record)
    await running(any_state, other)
    keys = [record.key, other.key, "0" * 32]
    assert await any_state.cancelled_now(keys) == set()
    marked = await any_state.ask_cancel(record.key)
    assert marked.state == "running"
    assert await any_state.cancelled_now(keys) == {record.key}
    assert (await any_state.beat(record.key, claim.fence, 60, 1)).cancel_asked
    await any_state.move(record.key, claim.fence, "cancelled")
    assert await any_state.cancelled_now(keys) == set()
    assert await any_state.cancelled_now([]) == set()


async def test_a_cancelled_job_whose_worker_died_ends_at_the_next_claim(any_state, a_job):
    record = a_job()
    old = await running(any_state, record, lease_s=0)
    await any_state.ask_cancel(record.key)
    assert await any_state.claim(record, "w2", 60) is None
    assert (await any_state.get(record.key)).state == "cancelled"
    assert await any_state.move(record.key, old.fence, "done") is None


async def test_a_lost_record_is_restored_by_its_message(any_state, a_job):
    record = a_job()
    claim = await any_state.claim(record.changed(published=True), "w1", 60)
    assert claim.state == "running"
    assert claim.prompt == record.prompt
    assert await any_state.get(record.key) == claim


async def test_a_lost_record_is_restored_from_its_workers_copy(any_state, a_job):
    record = a_job()
    claim = await running(any_state, record)
    await forget(any_state, record)
    assert await any_state.beat(record.key, claim.fence, 60, 1) is None
    again = await any_state.restore(claim)
    assert again.version > claim.version  # an ETag never comes twice
    assert (again.state, again.fence) == ("running", claim.fence)
    assert await any_state.claim(record, "w2", 60) is None
    assert await any_state.beat(record.key, claim.fence, 60, 3) is not None
    assert (await any_state.restore(claim)).calls_done == 3  # an existing one wins


async def test_a_fence_grows_even_where_the_record_was_lost(any_state, a_job):
    record = a_job()
    old = await running(any_state, record)
    await forget(any_state, record)
    new = await any_state.claim(record, "w2", 60)
    assert new.fence > old.fence
    assert (await any_state.restore(old)) == new
    assert await any_state.beat(record.key, old.fence, 60, 1) is None


async def forget(state, record):
    """As a server does that lost its data: expire the record and let it be dropped."""
    found = await state.get(record.key)
    failed = await state.move_any(record.key, found.version, "failed")
    await state.move_any(record.key, failed.version, "expired", expires=1.0)
    await state.expired()
    assert await state.get(record.key) is None


async def test_what_the_queue_refused_is_forgotten_unless_somebody_has_it(any_state, a_job):
    refused, taken = a_job(), a_job()
    await any_state.create(refused)
    await any_state.remove(refused.key)
    await running(any_state, taken)
    await any_state.remove(taken.key)
    await any_state.remove("0" * 32)
    assert await any_state.get(refused.key) is None
    assert await any_state.waiting() == []
    assert (await any_state.page(None))[0] == [await any_state.get(taken.key)]


async def test_sweeping_moves_what_it_saw_and_nothing_newer(any_state, a_job):
    record = a_job()
    claim = await running(any_state, record, lease_s=0)
    assert await any_state.stale() == [claim]
    await any_state.beat(record.key, claim.fence, 0, 1)
    assert await any_state.move_any(record.key, claim.version, "queued") is None
    (seen,) = await any_state.stale()
    back = await any_state.move_any(record.key, seen.version, "queued", published=False)
    assert back.state == "queued"
    assert await any_state.stale() == []
    assert await any_state.unpublished(0) == [back]
    # its worker was only slow: nobody else took the job, so what it made counts
    assert (await any_state.move(record.key, claim.fence, "done")).state == "done"


async def test_where_an_operator_ends_a_job_its_worker_writes_no_more(any_state, a_job):
    record = a_job()
    claim = await running(any_state, record)
    failed = await any_state.move_any(record.key, claim.version, "failed", reason="by hand")
    assert await any_state.move(record.key, claim.fence, "done") is None
    again = await any_state.move_any(record.key, failed.version, "queued", attempt=0)
    assert (again.ended, again.expires, again.reason) == (None, None, "by hand")
    with pytest.raises(IllegalMove):
        await any_state.move_any(record.key, again.version, "expired")


async def test_a_job_that_was_never_published_is_found(any_state, a_job):
    records = [a_job(accepted=100.0 + n) for n in range(3)]
    for record in reversed(records):
        await any_state.create(record)
    assert await any_state.unpublished(0) == records
    assert await any_state.unpublished(0, limit=1) == records[:1]
    assert await any_state.unpublished(1e12) == []
    await any_state.published(records[0].key)
    await any_state.claim(records[1], "w1", 60)
    assert await any_state.unpublished(0) == records[2:]
    await any_state.published("0" * 32)
    assert (await any_state.get(records[0].key)).published


async def test_results_expire_and_their_records_stay_a_week(open_state, a_job):
    state = open_state(result_ttl_s=-1)
    await state.open()
    record = a_job()
    claim = await running(state, record)
    done = await state.move(record.key, claim.fence, "done")
    assert await state.expired() == [done]
    gone = await state.move_any(record.key, done.version, "expired")
    assert await state.expired() == []
    assert await state.get(record.key) == gone
    await state.close()


async def test_lists_are_newest_first_page_by_page(any_state, a_job):
    # many in the same second, as a batch has them
    jobs = [a_job(owner="ann" if n % 3 else "bob", accepted=50.0 + n // 4) for n in range(20)]
    for job in jobs:
        await any_state.create(job)
    await any_state.claim(jobs[4], "w1", 60)
    newest = sorted(jobs, key=lambda job: (job.accepted, job.key), reverse=True)
    seen, cursor = await any_state.page(None, limit=6)
    while cursor:
        more, cursor = await any_state.page(None, before=cursor, limit=6)
        seen += more
    assert [job.key for job in seen] == [job.key for job in newest]
    anns = [job.key for job in newest if job.owner == "ann"]
    assert [job.key for job in (await any_state.page("ann"))[0]] == anns
    assert [job.key for job in (await any_state.page("ann", "running"))[0]] == [jobs[4].key]
    assert len((await any_state.page(None, "queued"))[0]) == 19
    assert await any_state.page("eve") == ([], "")


@pytest.mark.parametrize("cursor", ["x", "1:a", f"{0:020d}:", "-" * 500, f"{0:020d}:" + "a" * 99])
async def test_a_cursor_that_nobody_gave_is_refused(any_state, cursor):
    with pytest.raises(ConfigError, match="cursor"):
        await any_state.page(None, before=cursor)


async def test_waiting_and_counts_tell_of_open_jobs(any_state, a_job):
    jobs = [
        a_job(owner=owner, priority=priority, accepted=10.0 + n)
        for n, (owner, priority) in enumerate([("ann", "people"), ("bob", "sweep"), ("ann", "api")])
    ]
    for job in reversed(jobs):
        await any_state.create(job)
    found = await any_state.waiting()
    assert [w.key for w in found] == [job.key for job in jobs]
    assert [w.lane for w in found] == [lane_of(job.priority, job.owner) for job in jobs]
    assert {w.calls for w in found} == {jobs[0].calls_total}
    assert [w.accepted for w in found] == [10.0, 11.0, 12.0]
    await any_state.claim(jobs[0], "w1", 60)
    await any_state.ask_cancel(jobs[1].key)
    assert await any_state.counts() == {"queued": 1, "running": 1}
    assert await any_state.counts("bob") == {"queued": 0, "running": 0}
    assert [w.key for w in await any_state.waiting()] == [jobs[2].key]
