"""The queue of a service in one process: lanes in memory, dead letters in a file."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.queue.base import DeadLetter, Delivery, Lane, all_lanes, lane_of
from teststrip.serve.queue.letters import Letters
from teststrip.serve.queue.turns import Turns


@dataclass
class _Waiting:
    record: JobRecord
    redelivered: bool = False


class MemoryQueue:
    """A `JobQueue` for one event loop. What waits is lost with the process.

    `service up` publishes again at its start whatever its records say is open. `path`: the file
    of the dead letters (None: not kept). `max_length`: jobs in one lane, then `publish` raises
    StorageError.
    """

    def __init__(self, path: Path | None = None, *, max_length: int = 20_000) -> None:
        self._letters = Letters(path)
        self._max_length = max_length
        self._lanes: dict[Lane, deque[_Waiting]] = {lane: deque() for lane in all_lanes()}
        self._turns = Turns()
        self._bell = asyncio.Event()
        self._out: set[_Taken] = set()
        self._telling: set[str] = set()
        self._later: dict[asyncio.TimerHandle, JobRecord] = {}
        self._is_open = False

    async def open(self) -> None:
        """Read the dead letters."""
        await self._letters.open()
        self._is_open = True

    async def close(self) -> None:
        """What is out or set to come later waits again, should the queue be opened once more."""
        self._is_open = False
        for delivery in list(self._out):
            await delivery.release()
        for handle, record in list(self._later.items()):
            handle.cancel()
            self._put(_Waiting(record))
        self._later.clear()

    async def publish(self, record: JobRecord) -> None:
        """Add a job. Raises StorageError when its lane is full or the queue is not open."""
        self._check_open()
        lane = lane_of(record.priority, record.owner)
        if (length := len(self._lanes[lane])) >= self._max_length:
            raise StorageError(f"the queue is full: {length} jobs wait in {lane}; try again later")
        self._put(_Waiting(record))

    async def pull(self, timeout_s: float) -> Delivery | None:
        """The next job by `Turns`; waits up to `timeout_s` seconds for one."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    self._check_open()
                    self._bell.clear()
                    if (taken := self._take()) is not None:
                        return taken
                    await self._bell.wait()
        except TimeoutError:
            return None

    async def depths(self) -> Mapping[Lane, int]:
        """Jobs that wait, by lane; those that come back later are not among them."""
        self._check_open()
        return {lane: len(jobs) for lane, jobs in self._lanes.items()}

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The oldest ones, of at most a thousand that are kept."""
        self._check_open()
        return self._letters.oldest(limit)

    async def dead_depth(self) -> int:
        """How many are kept."""
        self._check_open()
        return len(self._letters)

    async def take_dead(self) -> Delivery | None:
        """The oldest that was not told yet, with its reason in `record.reason`."""
        self._check_open()
        if (letter := self._letters.new(self._telling)) is None:
            return None
        self._telling.add(letter.record.key)
        return _TakenDead(self, letter.record.model_copy(update={"reason": letter.reason}))

    async def requeue_dead(self, key: str) -> JobRecord | None:
        """Publish it anew, as if it had never been tried."""
        self._check_open()
        if (record := await self._letters.take_out(key)) is None:
            return None
        record = record.model_copy(update={"state": "queued", "attempt": 0, "reason": None})
        self._put(_Waiting(record))
        return record

    async def is_ready(self) -> bool:
        """Is it open?"""
        return self._is_open

    def _check_open(self) -> None:
        if not self._is_open:
            raise StorageError("the queue is closed; no more jobs are taken or given")

    def _put(self, job: _Waiting, *, first: bool = False) -> None:
        lane = self._lanes[lane_of(job.record.priority, job.record.owner)]
        if first:
            lane.appendleft(job)
        else:
            lane.append(job)
        self._bell.set()

    def _put_later(self, record: JobRecord, delay_s: float) -> None:
        def come() -> None:
            del self._later[handle]
            self._put(_Waiting(record))

        handle = asyncio.get_running_loop().call_later(delay_s, come)
        self._later[handle] = record

    def _take(self) -> "_Taken | None":
        waiting = [lane for lane, jobs in self._lanes.items() if jobs]
        if not waiting:
            return None
        lane = self._turns.order(waiting)[0]
        self._turns.took(lane, waiting)
        job = self._lanes[lane].popleft()
        taken = _Taken(self, job.record, job.redelivered)
        self._out.add(taken)
        return taken


class _Taken:
    """A job in a worker's hands; a fault leaves it there, to be ended once more."""

    def __init__(self, queue: MemoryQueue, record: JobRecord, redelivered: bool) -> None:
        self._queue = queue
        self.record = record
        self.redelivered = redelivered

    async def ack(self) -> None:
        """It is dealt with."""
        self._end()

    async def back(self, record: JobRecord, delay_s: float = 0) -> None:
        """Comes again as `record` after `delay_s`; never refused, its place was paid for."""
        self._end()
        if delay_s > 0 and self._queue._is_open:
            self._queue._put_later(record, delay_s)
        else:
            self._queue._put(_Waiting(record))

    async def release(self) -> None:
        """The first in its lane again."""
        self._end()
        self._queue._put(_Waiting(self.record, self.redelivered), first=True)

    async def dead(self, record: JobRecord, reason: str) -> None:
        """One more dead letter; raises StorageError where the file cannot be written."""
        self._check()
        await self._queue._letters.add(record, reason)
        self._end()

    def _check(self) -> None:
        if self not in self._queue._out:
            raise StorageError(f"job {self.record.key}: this delivery was ended before")

    def _end(self) -> None:
        self._check()
        self._queue._out.remove(self)


class _TakenDead:
    """A dead letter in the sweeper's hands."""

    redelivered = False

    def __init__(self, queue: MemoryQueue, record: JobRecord) -> None:
        self._queue = queue
        self.record = record

    async def ack(self) -> None:
        """Its record was told: it stays listed, and is not taken again."""
        await self._queue._letters.tell(self.record.key)
        self._queue._telling.discard(self.record.key)

    async def back(self, record: JobRecord, delay_s: float = 0) -> None:
        """It is queued again, as `record`."""
        await self._queue._letters.take_out(record.key)
        self._queue._telling.discard(record.key)
        if delay_s > 0:
            self._queue._put_later(record, delay_s)
        else:
            self._queue._put(_Waiting(record))

    async def release(self) -> None:
        """It is new again."""
        self._queue._telling.discard(self.record.key)

    async def dead(self, record: JobRecord, reason: str) -> None:
        """The same letter with other words: kept as told."""
        await self._queue._letters.take_out(record.key)
        await self._queue._letters.add(record, reason)
        await self.ack()
