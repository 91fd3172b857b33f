"""The rules of change: what becomes of a record, decided in one place for every kind of state.

A rule is a pure function `(found record or None, now) -> Ruling`. SQLite runs it inside a
transaction, Redis between a read and a compare and set; neither knows what a job is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.jobs.states import ENDED, State

# what may change after a job was accepted; lists are kept in order of the rest
FREE = frozenset(
    {"published", "attempt", "worker", "lease_until", "cancel_asked", "calls_done", "images"}
    | {"reason", "started", "ended", "expires", "webhook", "labels", "trace"}
)
LONGEST_LEASE_S = 3600.0


@dataclass(frozen=True)
class Ruling:
    """`answer` for the caller; `write` replaces the record; `drop` removes it."""

    answer: JobRecord | None
    write: JobRecord | None = None
    drop: bool = False


Rule = Callable[[JobRecord | None, float], Ruling]


def created(record: JobRecord) -> Rule:
    """Add a job, or answer with the one that has its key."""
    return lambda found, now: Ruling(found) if found else Ruling(record, record)


def restored(copy: JobRecord) -> Rule:
    """Add a lost record again. Its version goes beyond all that were told before the loss."""

    def rule(found: JobRecord | None, now: float) -> Ruling:
        if found is not None:
            return Ruling(found)
        again = copy.model_copy(update={"version": _beyond(copy.version, now)})
        return Ruling(again, again)

    return rule


def published(found: JobRecord | None, now: float) -> Ruling:
    """The queue has it."""
    if found is None or found.published:
        return Ruling(found)
    return _written(found.changed(published=True))


def removed(found: JobRecord | None, now: float) -> Ruling:
    """Forget a job that was never taken up; one that was is somebody's work and stays."""
    fresh = (
        found is not None
        and found.state == "queued"
        and found.attempt == 0
        and not found.published  # somebody else queued it after all
    )
    return Ruling(None, drop=fresh)


def cancelled(ttl_s: float) -> Rule:
    """A queued job ends at once, and whoever once held it can write no more."""

    def rule(found: JobRecord | None, now: float) -> Ruling:
        if found is None or found.is_ended or (found.state == "running" and found.cancel_asked):
            return Ruling(found)
        if found.state == "running":
            return _written(found.changed(cancel_asked=True))
        return _written(_cancel(found, now, ttl_s))

    return rule


def claimed(copy: JobRecord, worker: str, lease_s: float, ttl_s: float) -> Rule:
    """Take a job up. A lease that lives is respected, even one under the same worker's name:
    after a broken connection the queue hands a worker what it is still busy with.
    """

    def rule(found: JobRecord | None, now: float) -> Ruling:
        record = found or _anew(copy, now)
        if record.is_ended or _is_held(record, lease_s, now):
            return Ruling(None)
        if record.cancel_asked:
            return Ruling(None, _cancel(record, now, ttl_s))
        return _written(
            record.changed(
                state="running",
                published=True,  # it came out of the queue
                attempt=record.attempt + 1,
                fence=_beyond(record.fence, now),
                worker=worker,
                lease_until=now + lease_s,
                calls_done=len(record.images) * record.recipe.model_calls,
                started=record.started if record.started is not None else now,
                # who was running it vanished, and told no reason
                reason=record.reason if record.state == "queued" else None,
            )
        )

    return rule


def beaten(fence: int, lease_s: float, calls_done: int, images: Sequence[Image]) -> Rule:
    """Prolong a lease, even one that ran out, while nobody else took the job up."""

    def rule(found: JobRecord | None, now: float) -> Ruling:
        if found is None or found.fence != fence or found.state != "running":
            return Ruling(None)
        fields: dict[str, Any] = {"lease_until": now + lease_s, "calls_done": calls_done}
        if images:
            fields["images"] = _with(found.images, images)
        return _written(found.changed(**fields))

    return rule


def moved(fence: int, state: State, fields: dict[str, Any], ttl_s: float) -> Rule:
    """The holder of the fence moves its job; the same end told again changes nothing."""

    def rule(found: JobRecord | None, now: float) -> Ruling:
        if found is None or found.fence != fence:
            return Ruling(None)
        if found.is_ended and found.state == state:
            return Ruling(found)
        return _written(_moved(found, state, fields, now, ttl_s))

    return rule


def moved_any(version: int, state: State, fields: dict[str, Any], ttl_s: float) -> Rule:
    """Sweeper and operator move what they saw; where they end it, its worker can write no more."""

    def rule(found: JobRecord | None, now: float) -> Ruling:
        if found is None or found.version != version:
            return Ruling(None)
        after = _moved(found, state, fields, now, ttl_s)
        if after.is_ended and not found.is_ended:
            after = after.model_copy(update={"fence": found.fence + 1})
        return _written(after)

    return rule


def check_fields(fields: dict[str, Any]) -> None:
    """Raises TypeError where a field is none, or fixed since the job was accepted."""
    if wrong := sorted(set(fields) - FREE):
        raise TypeError(f"a move cannot set {', '.join(wrong)}; it can: {', '.join(sorted(FREE))}")


def _is_held(record: JobRecord, lease_s: float, now: float) -> bool:
    """A lease far longer than any that is given was made before a clock was put back."""
    longest = max(LONGEST_LEASE_S, 10 * lease_s)
    return record.state == "running" and now < record.lease_until <= now + longest


def _written(record: JobRecord) -> Ruling:
    return Ruling(record, record)


def _moved(
    record: JobRecord, state: State, fields: dict[str, Any], now: float, ttl_s: float
) -> JobRecord:
    given = dict(fields)
    if "images" in given:
        given["images"] = _with(record.images, given["images"])
    known: dict[str, Any] = {}
    if state in ENDED and not record.is_ended:
        known = {"ended": now, "expires": now + ttl_s, "lease_until": 0.0}
        if state == "done":
            known |= {"reason": None, "calls_done": record.calls_total}
    elif state == "queued":
        finished = len(given.get("images", record.images))
        known = {"worker": "", "lease_until": 0.0, "ended": None, "expires": None}
        known["calls_done"] = finished * record.recipe.model_calls
        if record.is_ended:  # an operator wants it after all
            known["cancel_asked"] = False
    return record.changed(**known | given | {"state": state})


def _cancel(record: JobRecord, now: float, ttl_s: float) -> JobRecord:
    after = _moved(record, "cancelled", {"cancel_asked": True}, now, ttl_s)
    return after.model_copy(update={"fence": record.fence + 1})


def _anew(copy: JobRecord, now: float) -> JobRecord:
    """The record as its message tells it, nobody's, for the state lost its own."""
    if copy.is_ended:
        return copy
    fields = {"state": "queued", "worker": "", "lease_until": 0.0}
    return copy.model_copy(update=fields | {"version": _beyond(copy.version, now)})


def _with(images: Sequence[Image], more: Sequence[Image]) -> tuple[Image, ...]:
    by_index = {image.index: image for image in (*images, *more)}
    return tuple(by_index[index] for index in sorted(by_index))


def _beyond(number: int, now: float) -> int:
    """Higher than `number`, and than any that was given before the state lost its data."""
    return max(number + 1, int(now * 1000))
