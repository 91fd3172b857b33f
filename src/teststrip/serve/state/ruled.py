"""What SQLite and Redis share: every change of a record is a rule, applied as one."""

import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from pydantic import ValidationError

from teststrip.errors import ConfigError, StorageError
from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.jobs.states import State
from teststrip.serve.queue.base import all_lanes, lane_of
from teststrip.serve.state import rules
from teststrip.serve.state.base import Allowed, Created, Waiting, WorkerCard

RESULT_TTL_S = 7 * 86400.0
KEPT_AFTER_S = 7 * 86400.0  # an expired job's record: so long is the answer 410 with its facts
PREVIEW_S = 600.0
PREVIEW_AFTER_S = 60.0  # once the job ended, for who is just looking
LONGEST_WAIT_S = 86400.0
log = logging.getLogger(__name__)


class RuledState(ABC):
    """The changes of `JobState`; a subclass applies a rule as one atomic change."""

    def __init__(self, result_ttl_s: float = RESULT_TTL_S) -> None:
        self._ttl_s = result_ttl_s

    @abstractmethod
    async def _change(
        self, key: str, rule: rules.Rule, *, timeless: bool = False
    ) -> tuple[JobRecord | None, bool]:
        """Apply a rule to the record of this key: its answer, and whether something changed.

        `timeless`: the rule does not ask for the time, so it may be tried on a guess first.
        """

    async def create(self, record: JobRecord) -> Created:
        """Add a job; where its key is known, return that one as it is."""
        answer, wrote = await self._change(record.key, rules.created(record), timeless=True)
        return Created(answer or record, wrote)

    async def restore(self, record: JobRecord) -> JobRecord:
        """Add the copy of a record that was lost; an existing one wins."""
        return (await self._change(record.key, rules.restored(record)))[0] or record

    async def published(self, key: str) -> None:
        """Note that the queue confirmed it."""
        await self._change(key, rules.published, timeless=True)

    async def remove(self, key: str) -> None:
        """Forget a job that nobody took up yet."""
        await self._change(key, rules.removed)

    async def ask_cancel(self, key: str) -> JobRecord | None:
        """A queued job is cancelled at once; a running one is marked."""
        return (await self._change(key, rules.cancelled(self._ttl_s)))[0]

    async def claim(self, record: JobRecord, worker: str, lease_s: float) -> JobRecord | None:
        """Take a job up, or None: ended, cancelled, or leased to somebody (also to oneself)."""
        rule = rules.claimed(record, worker, lease_s, self._ttl_s)
        return (await self._change(record.key, rule))[0]

    async def beat(
        self, key: str, fence: int, lease_s: float, calls_done: int, images: Sequence[Image] = ()
    ) -> JobRecord | None:
        """Prolong the lease; `images` are added to those known, by index."""
        rule = rules.beaten(fence, lease_s, calls_done, images)
        return (await self._change(key, rule))[0]

    async def move(self, key: str, fence: int, state: State, **fields: Any) -> JobRecord | None:
        """Compare and set on the fence. An end gets `ended` and `expires` where none are given.

        Raises IllegalMove, and TypeError for a field that is fixed.
        """
        rules.check_fields(fields)
        return (await self._change(key, rules.moved(fence, state, fields, self._ttl_s)))[0]

    async def move_any(
        self, key: str, version: int, state: State, **fields: Any
    ) -> JobRecord | None:
        """Compare and set on the version. Raises IllegalMove, TypeError as `move` does."""
        rules.check_fields(fields)
        return (await self._change(key, rules.moved_any(version, state, fields, self._ttl_s)))[0]


def read_record(text: str | bytes, where: str) -> JobRecord:
    """A record as it was kept. Raises StorageError where another version wrote it."""
    try:
        return JobRecord.model_validate_json(text)
    except ValidationError as exc:
        fault = exc.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(part) for part in fault["loc"])
        raise StorageError(
            f"{where}: a job's record cannot be read ({at}: {fault['msg']}); it was written by "
            "another version of Teststrip: run the same one in all processes"
        ) from exc


def readable(texts: Iterable[str | bytes | None], where: str) -> list[JobRecord]:
    """Those records that can be read; one that cannot must not stop the work on the others."""
    found = []
    for text in texts:
        try:
            if text is not None:
                found.append(read_record(text, where))
        except StorageError as exc:
            log.error("%s", exc)  # noqa: TRY400 - the message says it all
    return found


def stamp(record: JobRecord) -> str:
    """Sorts as jobs were accepted, no two alike: order and cursor of lists."""
    return f"{max(0, int(record.accepted * 1e6)):020d}:{record.key}"


def check_cursor(before: str) -> None:
    """Raises ConfigError for a cursor that no list gave."""
    number, _, key = before.partition(":")
    if before and not (
        before.isascii() and len(before) <= 100 and len(number) == 20 and number.isdigit() and key
    ):
        raise ConfigError(f"{before[:40]!r} is no cursor: take `next` of the page before it")


LANES = {str(lane): lane for lane in all_lanes()}


def waiting_line(record: JobRecord) -> str:
    """A queued job, small, so that ten thousand are read at once. Sorts as accepted."""
    return f"{stamp(record)}:{lane_of(record.priority, record.owner)}:{record.calls_total}"


def read_waiting(line: str) -> Waiting:
    """The other way."""
    micros, key, lane, calls = line.split(":")
    return Waiting(key, LANES[lane], int(calls), int(micros) / 1e6)


def card_text(card: WorkerCard) -> str:
    """A worker's card as JSON; when it was told is the state's to say."""
    return json.dumps(asdict(card))


def read_card(text: str | bytes, told: float) -> WorkerCard:
    """The other way; fields of a newer worker are left out."""
    data = json.loads(text) | {"told": told}
    return WorkerCard(**{f.name: data[f.name] for f in fields(WorkerCard) if f.name in data})


def allowed(ok: bool, tokens: float, amount: int, per_s: float) -> Allowed:
    """The answer of a token bucket that now holds `tokens`."""
    missing = max(0.0, amount - tokens)
    wait = 0.0 if ok else min(LONGEST_WAIT_S, missing / per_s if per_s > 0 else LONGEST_WAIT_S)
    return Allowed(ok, max(0, int(tokens)), wait)
