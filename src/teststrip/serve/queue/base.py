"""The seam of the queue: jobs wait in lanes, a worker pulls one when it has room."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from teststrip.serve.jobs.job import PRIORITIES, JobRecord, Priority

LANES: dict[Priority, int] = {"people": 4, "api": 4, "sweep": 4}


@dataclass(frozen=True, order=True)
class Lane:
    """One first-in-first-out queue: a priority and a number that the job's owner hashes to.

    Lanes of one priority take turns, so that one owner's ten thousand jobs wait behind each
    other, not before everybody else's.
    """

    priority: Priority
    number: int

    def __str__(self) -> str:
        return f"{self.priority}.{self.number}"


def lane_of(priority: Priority, owner: str) -> Lane:
    """The lane of an owner's jobs: always the same one."""
    digest = hashlib.sha256(owner.encode()).digest()
    return Lane(priority, digest[0] % LANES[priority])


def all_lanes() -> list[Lane]:
    """Every lane, the most urgent priority first."""
    return [Lane(p, number) for p in PRIORITIES for number in range(LANES[p])]


class Delivery(Protocol):
    """One job in the hands of a worker; exactly one of ack, back and dead ends it.

    `record` is as it was when it was published: the copy from which a lost record is restored.
    `redelivered`: somebody took it before and vanished, perhaps because of it.
    """

    record: JobRecord
    redelivered: bool

    async def ack(self) -> None:
        """It is dealt with; the queue forgets it. Called last of all."""
        ...

    async def back(self, record: JobRecord, delay_s: float = 0) -> None:
        """Queue `record` (confirmed) to come again after about `delay_s`, then forget this one."""
        ...

    async def release(self) -> None:
        """Give it back as it was, for another worker, without counting it as a failure."""
        ...

    async def dead(self, record: JobRecord, reason: str) -> None:
        """Put it with the dead letters (confirmed), then forget this one."""
        ...


@dataclass(frozen=True)
class DeadLetter:
    """A job that the queue gave up, and why: the worker's words or the broker's."""

    record: JobRecord
    reason: str
    died: float


class JobQueue(Protocol):
    """Contract: a job whose `publish` returned is delivered until somebody ends its delivery.

    At least once: whoever takes one may find that it was dealt with already. All calls raise
    StorageError where the queue cannot be reached or refuses (full), after bounded retries.
    """

    async def open(self) -> None:
        """Connect and declare what is needed; waits with growing pauses for a broker."""
        ...

    async def close(self) -> None:
        """Let go; deliveries not ended go to others."""
        ...

    async def publish(self, record: JobRecord) -> None:
        """Add a job to its lane; returns when it is safe (confirmed)."""
        ...

    async def pull(self, timeout_s: float) -> Delivery | None:
        """The next job in fair order, or None when none came in this time."""
        ...

    async def depths(self) -> Mapping[Lane, int]:
        """Jobs that wait, by lane."""
        ...

    async def dead_letters(self, limit: int = 100) -> list[DeadLetter]:
        """The oldest dead letters, left where they are."""
        ...

    async def dead_depth(self) -> int:
        """How many dead letters are listed."""
        ...

    async def take_dead(self) -> "Delivery | None":
        """The next new dead letter, to be told to the job's record (then `ack` keeps it listed).

        Its `record.reason` says why. Letters that the broker itself made (delivery limit) arrive
        here as well.
        """
        ...

    async def requeue_dead(self, key: str) -> JobRecord | None:
        """Take the letter of this job out of the dead ones and publish it anew; None if absent."""
        ...

    async def is_ready(self) -> bool:
        """Can it be used now? Never raises."""
        ...
