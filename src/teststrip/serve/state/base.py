"""The seam of the state: what is known of every job, changed by one writer at a time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.jobs.states import State
from teststrip.serve.queue.base import Lane


@dataclass(frozen=True)
class Created:
    """What `create` found. `is_new` is False where the key was used before."""

    record: JobRecord
    is_new: bool


@dataclass(frozen=True)
class Waiting:
    """A queued job, as far as its place and time are concerned."""

    key: str
    lane: Lane
    calls: int
    accepted: float


@dataclass(frozen=True)
class WorkerCard:
    """What a worker tells about itself every few seconds; forgotten when it stops telling.

    `calls_per_s`: model calls (one image, one step) a second while busy, measured; 0 unknown.
    `models`: model name -> {"fingerprint", "dtype", "defaults" (recipe fields), "width", "height"}.
    """

    name: str
    slots: int
    images: int  # under way now
    calls_left: int  # of what is under way
    calls_per_s: float
    draining: bool = False
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    told: float = 0.0


@dataclass(frozen=True)
class Allowed:
    """Answer of a limit: go on, or come back after `retry_s`."""

    ok: bool
    left: int
    retry_s: float = 0.0


class JobState(Protocol):
    """Contract: each call is one atomic change; two writers never overwrite each other.

    Times are passed in by nobody: the state's own clock decides leases (one clock, no skew). All
    calls raise StorageError where the state cannot be reached, after bounded retries.
    """

    async def open(self) -> None:
        """Connect, and make what is needed; waits with growing pauses for a server."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...

    # -- the web's side -------------------------------------------------------------------------

    async def create(self, record: JobRecord) -> Created:
        """Add a job; where its key is known, return that one as it is (its body_hash decides)."""
        ...

    async def restore(self, record: JobRecord) -> JobRecord:
        """Add the copy of a record that was lost; an existing one wins. Returns what is there."""
        ...

    async def get(self, key: str) -> JobRecord | None:
        """The record, or None."""
        ...

    async def published(self, key: str) -> None:
        """Note that the queue confirmed it."""
        ...

    async def remove(self, key: str) -> None:
        """Forget a job that the queue refused at once (never told to anybody)."""
        ...

    async def ask_cancel(self, key: str) -> JobRecord | None:
        """A queued job is cancelled at once; a running one is marked, and its worker told."""
        ...

    async def page(
        self, owner: str | None, state: State | None = None, before: str = "", limit: int = 50
    ) -> tuple[list[JobRecord], str]:
        """Newest first, with the cursor of the next page ("" at the end). None: all owners."""
        ...

    async def waiting(self) -> list[Waiting]:
        """All queued jobs, oldest first in each lane."""
        ...

    async def counts(self, owner: str | None = None) -> Mapping[State, int]:
        """How many open jobs there are (queued, running), of one owner or of all."""
        ...

    async def recent(self, owner: str, body_hash: str, key: str | None, ttl_s: float) -> str | None:
        """With `key`: remember it as the last job of this body. Without: which was it?"""
        ...

    async def take(self, bucket: str, amount: int, per_s: float, burst: int) -> Allowed:
        """Token bucket: `amount` tokens of `bucket`, which fills with `per_s` up to `burst`."""
        ...

    # -- the worker's side ----------------------------------------------------------------------

    async def claim(self, record: JobRecord, worker: str, lease_s: float) -> JobRecord | None:
        """Take a job up: running, attempt + 1, a new fence. Restores a lost record first.

        None where it is ended, asked to be cancelled (then it is cancelled now), or leased to
        another worker that is alive.
        """
        ...

    async def beat(
        self, key: str, fence: int, lease_s: float, calls_done: int, images: Sequence[Image] = ()
    ) -> JobRecord | None:
        """Prolong the lease and tell how far it is. None: the claim was lost, stop.

        The record's `cancel_asked` says whether to stop at the next step.
        """
        ...

    async def move(self, key: str, fence: int, state: State, **fields: Any) -> JobRecord | None:
        """Compare and set: the record in its new state, or None where the claim was lost.

        Raises IllegalMove.
        """
        ...

    async def preview(self, key: str, index: int, data: bytes | None = None) -> bytes | None:
        """Keep the newest preview (WebP) of a picture for some minutes, or read it."""
        ...

    async def cancelled_now(self, keys: Sequence[str]) -> set[str]:
        """Which of these were asked to be cancelled; cheap, asked at every few steps."""
        ...

    async def tell(self, card: WorkerCard, ttl_s: float) -> None:
        """A worker's card; it is forgotten after `ttl_s`."""
        ...

    async def workers(self) -> list[WorkerCard]:
        """The living ones."""
        ...

    # -- the sweeper's side ---------------------------------------------------------------------

    async def unpublished(self, older_s: float, limit: int = 100) -> list[JobRecord]:
        """Accepted that long ago and never confirmed by the queue."""
        ...

    async def stale(self, limit: int = 100) -> list[JobRecord]:
        """Running with a lease that ran out."""
        ...

    async def expired(self, limit: int = 100) -> list[JobRecord]:
        """Ended and past `expires`, not yet marked expired."""
        ...

    async def move_any(
        self, key: str, version: int, state: State, **fields: Any
    ) -> JobRecord | None:
        """Compare and set on the record's version, for sweeper and operator. Raises IllegalMove."""
        ...

    async def lead(self, who: str, ttl_s: float) -> bool:
        """Is this process the one that sweeps now? Asked again before the time is over."""
        ...

    async def put(self, name: str, data: bytes, ttl_s: float | None = None) -> None:
        """Keep a small thing under a name (webhook deliveries, feedback outbox)."""
        ...

    async def things(self, prefix: str, limit: int = 100) -> dict[str, bytes]:
        """What is kept under names that begin so, by name."""
        ...

    async def drop(self, name: str) -> None:
        """Forget a small thing; one that is not there is no fault."""
        ...

    async def is_ready(self) -> bool:
        """Can it be used now? Never raises."""
        ...
