"""Dead letters: told to the job's record, listed, and queued again when an operator says so."""

import logging
import time

from teststrip.errors import ConfigError, StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.operate import webhooks
from teststrip.serve.operate.ending import tell_ended
from teststrip.serve.parts import Parts
from teststrip.serve.queue.base import Delivery

TRIES = 5
log = logging.getLogger(__name__)


async def tell_dead(parts: Parts, limit: int = 100) -> int:
    """Make failed jobs of the new dead letters; how many. Raises StorageError."""
    told = 0
    seen: set[str] = set()
    for _ in range(limit):
        letter = await parts.queue.take_dead()
        if letter is None:
            break
        if letter.record.key in seen:  # came round again: what is left waits for a worker's end
            await letter.release()
            break
        seen.add(letter.record.key)
        told += await _tell(parts, letter)
    return told


async def _tell(parts: Parts, letter: Delivery) -> bool:
    """Ack where the record says how it ended; else release it, for the next round."""
    for _ in range(TRIES):
        record = await parts.state.restore(letter.record)
        if record.is_ended:
            await letter.ack()
            return False
        if record.state == "running" and record.lease_until > time.time():
            break  # its worker is alive after all: that one will say how it ends
        reason = letter.record.reason or record.reason or died(record.attempt)
        await webhooks.note(parts.state, record)
        after = await parts.state.move_any(record.key, record.version, "failed", reason=reason)
        if after is not None:
            await tell_ended(parts, after)
            await letter.ack()
            log.warning("job %s failed: %s", record.key, reason, extra={"job": record.key})
            return True
    await letter.release()
    return False


def died(attempts: int) -> str:
    """The reason of a job whose workers vanish."""
    times = "once" if attempts == 1 else f"{attempts} times"
    return f"its worker died {times} while making it" if attempts else "the queue gave it up"


async def requeue(parts: Parts, key: str) -> JobRecord:
    """Queue a failed job once more, with all its attempts; its finished pictures stay.

    The record first, then the queue: a crash between leaves a job that the sweeper publishes.
    Raises ConfigError for a job that is not there or did not fail, StorageError.
    """
    again = await reset(parts, key)
    if await parts.queue.requeue_dead(key) is None:
        await parts.queue.publish(again)
    await parts.state.published(key)
    return again


async def reset(parts: Parts, key: str) -> JobRecord:
    """The record's part of `requeue`: queued and not yet published. Raises as it does."""
    for _ in range(TRIES):
        record = await parts.state.get(key)
        if record is None:
            raise ConfigError(f"no job {key!r}: see `teststrip service dead list`")
        if record.state != "failed":
            raise ConfigError(f"job {key} is {record.state}; only failed jobs can be queued again")
        again = await parts.state.move_any(
            key, record.version, "queued", reason=None, attempt=0, published=False
        )
        if again is not None:
            return again
    raise StorageError(f"job {key}: others keep changing it; try again")
