"""A client that waits for its job: the same job for its retries, no job once it is gone for good.

The official clients give up after a while and ask again, without any key that would tell it; what
tells it is their retry counter and the same body from the same caller. A job that nobody has
waited for during `grace_s` is cancelled, so that it costs no more steps.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Mapping

from fastapi import Request

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.web import accepting
from teststrip.serve.web.callers import Caller
from teststrip.serve.web.finding import find
from teststrip.serve.web.openai_faults import OpenAIFault
from teststrip.serve.web.schemas import Recovering, Wish

log = logging.getLogger(__name__)
RETRIES = "x-stainless-retry-count"
GRACE_S = 30.0
FIRST_LOOK_S, LAST_LOOK_S = 0.01, 0.25
USELESS = frozenset({"failed", "cancelled", "expired"})


class Watch:
    """Who waits for what, over all web processes: each waiting client keeps a note in the state."""

    def __init__(self, parts: Parts, grace_s: float = GRACE_S) -> None:
        self.grace_s = grace_s
        self._parts = parts
        self._tasks: set[asyncio.Task[None]] = set()

    async def job_of(
        self, request: Request, caller: Caller, wish: Wish, name: str, idempotency_key: str | None
    ) -> JobRecord:
        """The job of this request: a new one, or the one that it is a repetition of.

        `name`: of the request's whole body. Raises Problem as `accepting.take` does.
        """
        if idempotency_key is None and _retries(request.headers) > 0:
            known = await self._parts.state.recent(caller.id, name, None, self._memory_s)
            record = await self._parts.state.get(known) if known is not None else None
            if record is not None and record.state not in USELESS and not record.cancel_asked:
                log.info("a client asks again for its job", extra={"job": record.key})
                return record
        catalog = request.app.state.catalog
        record = await accepting.accept(self._parts, catalog, caller, wish, idempotency_key)
        if idempotency_key is None:
            await self._parts.state.recent(caller.id, name, record.key, self._memory_s)
        return record

    async def follow(
        self, request: Request, caller: Caller, record: JobRecord, *, is_kept: bool
    ) -> AsyncGenerator[JobRecord]:
        """The job each time it is looked at, at last as it ended.

        `is_kept`: it goes on without its client. Raises OpenAIFault 504 after the time limit, and
        ClientGone, after which nobody reads an answer. Close it in any case.
        """
        note = f"watch:{record.key}:{secrets.token_hex(4)}"
        noted, began, pause_s = float("-inf"), time.monotonic(), FIRST_LOOK_S
        try:
            while True:
                yield record
                if record.is_ended:
                    return
                if time.monotonic() - began > self._parts.config.openai_timeout_s:
                    raise _late(self._parts.config.openai_timeout_s, self.grace_s)
                if await request.is_disconnected():
                    raise ClientGone
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 1.25, LAST_LOOK_S)
                # A state or store that is away for a moment ends no wait.
                with contextlib.suppress(StorageError):
                    if not is_kept and time.monotonic() - noted > self.grace_s / 2:
                        await self._parts.state.put(note, b"", self.grace_s * 2)
                        noted = time.monotonic()
                    found = await find(self._parts, caller, record.id)
                    record = record if isinstance(found, Recovering) else found
        finally:
            if not is_kept and not record.is_ended:
                task = asyncio.create_task(self._cancel_if_alone(record.key, note))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    @property
    def _memory_s(self) -> float:
        """A retry comes after the client's own time limit, which is as long as ours."""
        return 2 * self._parts.config.openai_timeout_s

    async def _cancel_if_alone(self, key: str, note: str) -> None:
        try:
            await self._parts.state.drop(note)
            await asyncio.sleep(self.grace_s)
            if await self._parts.state.things(f"watch:{key}:", 1):
                return
            record = await self._parts.state.ask_cancel(key)
        except StorageError as exc:
            log.warning("the job of a client that is gone goes on: %s", exc, extra={"job": key})
            return
        if record is not None and (record.cancel_asked or record.state == "cancelled"):
            log.info("cancelled: its client is gone", extra={"job": key})


class ClientGone(Exception):  # noqa: N818 - no fault of ours
    """Nobody is there to read an answer."""


def _retries(headers: Mapping[str, str]) -> int:
    given = headers.get(RETRIES, "0")
    return int(given) if given.isascii() and given.isdigit() and len(given) < 5 else 0


def _late(limit_s: float, grace_s: float) -> OpenAIFault:
    return OpenAIFault(
        504,
        f"The image was not finished within {limit_s:g} s. The same request, sent again as a retry "
        f"within {grace_s:g} s, goes on waiting for it.",
        kind="server_error",
        code="timeout",
        retry=True,
    )
