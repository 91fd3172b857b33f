"""Whatever happens in whatever order: the lists tell the same as the records."""

import random
import time

import pytest

from teststrip.serve.jobs.states import ENDED, MOVES, IllegalMove
from teststrip.serve.queue.base import lane_of

pytestmark = pytest.mark.anyio
OWNERS = ("ann", "bob", "a:b")


class Story:
    """Chance acts on some jobs; `check` compares every list with the records."""

    def __init__(self, state, a_job, seed):
        self.state = state
        self.chance = random.Random(seed)
        self.jobs = [
            a_job(
                owner=self.chance.choice(OWNERS),
                priority=self.chance.choice(["people", "api", "sweep"]),
                accepted=float(self.chance.randrange(1, 4)),
            )
            for _ in range(8)
        ]

    async def act(self):
        chance, state = self.chance, self.state
        job = chance.choice(self.jobs)
        found = await state.get(job.key) or job
        fence = chance.choice([found.fence, found.fence, found.fence - 1])
        match chance.randrange(9):
            case 0 | 1:
                await state.create(job)
            case 2 | 3:
                await state.claim(job, chance.choice("vw"), chance.choice([0, 600]))
            case 4:
                await state.beat(job.key, fence, chance.choice([0, 600]), chance.randrange(50))
            case 5:
                await state.ask_cancel(job.key)
            case 6:
                await chance.choice([state.published, state.remove])(job.key)
            case 7:
                await state.restore(found)
            case _:
                to = chance.choice(sorted(MOVES))
                fields = {"expires": 1e6} if to in ENDED and chance.random() < 0.5 else {}
                fields |= {"published": False} if to == "queued" else {}
                try:
                    if chance.random() < 0.5:
                        await state.move(job.key, fence, to, **fields)
                    else:
                        await state.move_any(job.key, found.version, to, **fields)
                except IllegalMove:
                    assert to not in MOVES[found.state]

    async def check(self):
        state = self.state
        expired = await state.expired()  # drops what is over, so before the records
        records = [r for job in self.jobs if (r := await state.get(job.key)) is not None]
        newest = sorted(records, key=lambda r: (r.accepted, r.key), reverse=True)
        for owner in (None, *OWNERS):
            own = [r for r in newest if owner in (None, r.owner)]
            assert await state.page(owner) == (own, "")
            for wanted in MOVES:
                assert (await state.page(owner, wanted))[0] == [r for r in own if r.state == wanted]
            assert await state.counts(owner) == {
                wanted: sum(r.state == wanted for r in own) for wanted in ("queued", "running")
            }
        queued = [r for r in reversed(newest) if r.state == "queued"]
        assert [(w.key, w.lane) for w in await state.waiting()] == [
            (r.key, lane_of(r.priority, r.owner)) for r in queued
        ]
        running = [r for r in records if r.state == "running"]
        now = time.time()
        assert keys(await state.unpublished(0)) == {r.key for r in queued if not r.published}
        assert keys(await state.stale()) == {r.key for r in running if r.lease_until <= now}
        assert await state.cancelled_now([job.key for job in self.jobs]) == {
            r.key for r in running if r.cancel_asked
        }
        over = [r for r in records if r.is_ended and r.expires <= now]
        assert keys(expired) == {r.key for r in over if r.state != "expired"}
        assert not [r for r in over if r.state == "expired"]  # those were dropped


def keys(records):
    return {record.key for record in records}


@pytest.mark.parametrize("seed", range(3))
async def test_the_lists_follow_the_records(any_state, a_job, seed):
    story = Story(any_state, a_job, seed)
    for _ in range(20):
        for _ in range(5):
            await story.act()
        await story.check()
