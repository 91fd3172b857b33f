"""RedisState: one Redis for many webs and workers. It may lose its data: messages restore jobs."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.jobs.states import State
from teststrip.serve.state import redis_scripts as lua
from teststrip.serve.state import ruled, rules
from teststrip.serve.state.base import Allowed, Waiting, WorkerCard
from teststrip.serve.state.redis_link import ANSWER_S, PATIENCE_S, Link

TRIES = 100  # of one change while others change the same record
FRESH = 1000  # jobs just created
SMALL = 50_000  # bytes that are read so fast that a thread would not pay


class RedisState(ruled.RuledState):
    """`JobState` in Redis 7.0 or newer, below `<namespace>:`. Leases are by the server's clock."""

    def __init__(
        self,
        url: SecretStr,
        namespace: str,
        *,
        result_ttl_s: float = ruled.RESULT_TTL_S,
        patience_s: float = PATIENCE_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        super().__init__(result_ttl_s)
        self._link = Link(url, patience_s=patience_s, answer_s=answer_s)
        self._prefix = f"{namespace}:"
        self._fresh: dict[str, tuple[JobRecord, str]] = {}

    async def open(self) -> None:
        """Connect; waits with growing pauses for a server. Raises StorageError."""
        await self._link.open()

    async def close(self) -> None:
        """Let go."""
        await self._link.close()

    # -- records --------------------------------------------------------------------------------

    async def _change(
        self, key: str, rule: rules.Rule, *, timeless: bool = False
    ) -> tuple[JobRecord | None, bool]:
        """Read, decide, compare and set; again where another was quicker.

        Each change leaves a mark of its own: it is what is compared, and a try whose answer got
        lost on the way is known by it to have succeeded. A guess saves the first read; only what
        the server compared counts.
        """
        mark, tried = secrets.token_hex(8), None
        guess, guess_mark = self._fresh.pop(key, (None, ""))
        for turn in range(TRIES):
            if is_guess := timeless and turn == 0:
                found, before, now = guess, guess_mark, 0.0
            else:
                text, by, seconds, micros = await self._script(lua.READ, key)
                before = (by or b"").decode()
                if tried is not None and before == mark:
                    return tried.answer, True
                found = self._read(text) if text is not None else None
                now = int(seconds) + int(micros) / 1e6
            ruling = rule(found, now)
            if ruling.write is not None:
                tried = ruling
                if await self._script(lua.SWAP, key, before, mark, *_row(ruling.write)):
                    if found is None and timeless:
                        self._remember(ruling.write, mark)
                    return ruling.answer, True
            elif ruling.drop:
                if await self._script(lua.FORGET, key, before):
                    return ruling.answer, True
            elif not is_guess:
                return ruling.answer, False
        raise StorageError(f"{self._link.where}: job {key} changed {TRIES} times meanwhile")

    def _remember(self, record: JobRecord, mark: str) -> None:
        """A job just created: so it is, most likely, when its next change comes."""
        self._fresh[record.key] = record, mark
        if len(self._fresh) > FRESH:
            del self._fresh[next(iter(self._fresh))]

    async def get(self, key: str) -> JobRecord | None:
        """The record, or None."""
        text = await self._link.command("HGET", f"{self._prefix}job:{key}", "d")
        return self._read(text) if text is not None else None

    async def page(
        self, owner: str | None, state: State | None = None, before: str = "", limit: int = 50
    ) -> tuple[list[JobRecord], str]:
        """Newest first, with the cursor of the next page. Raises ConfigError for a bad cursor."""
        ruled.check_cursor(before)
        if state is None:
            name = "all" if owner is None else f"of:{owner}"
        else:
            name = f"in:{state}" if owner is None else f"in:{state}:{owner}"
        start = f"({before}" if before else "+"
        flat = await self._script(lua.PAGE, name, start, limit + 1)
        stamps, texts = flat[::2], flat[1::2]
        cursor = stamps[limit - 1].decode() if len(stamps) > limit else ""
        return ruled.readable(texts[:limit], self._link.where), cursor

    async def waiting(self) -> list[Waiting]:
        """All queued jobs, oldest first."""
        text: bytes = await self._script(lua.WAITING)
        if len(text) < SMALL:
            return _waiting(text)
        return await asyncio.to_thread(_waiting, text)

    async def counts(self, owner: str | None = None) -> Mapping[State, int]:
        """How many jobs are queued and running, of one owner or of all."""
        queued, running = await self._script(lua.COUNTS, "" if owner is None else f":{owner}")
        return {"queued": queued, "running": running}

    async def cancelled_now(self, keys: Sequence[str]) -> set[str]:
        """Which of these running jobs were asked to be cancelled."""
        if not keys:
            return set()
        marks = await self._link.command("SMISMEMBER", f"{self._prefix}cancels", *keys)
        return {key for key, mark in zip(keys, marks, strict=True) if mark}

    # -- sweeping -------------------------------------------------------------------------------

    async def unpublished(self, older_s: float, limit: int = 100) -> list[JobRecord]:
        """Accepted that long ago and never confirmed by the queue, oldest first."""
        return await self._due("unsent", older_s, limit)

    async def stale(self, limit: int = 100) -> list[JobRecord]:
        """Running with a lease that ran out."""
        return await self._due("leases", 0, limit)

    async def expired(self, limit: int = 100) -> list[JobRecord]:
        """Ended and past `expires`. Drops what was kept long enough besides."""
        await self._script(lua.TIDY, 1000)
        return await self._due("expiry", 0, limit)

    async def lead(self, who: str, ttl_s: float) -> bool:
        """Is this process the one that sweeps now?"""
        return bool(await self._script(lua.LEAD, who, int(ttl_s * 1000)))

    # -- small things ---------------------------------------------------------------------------

    async def put(self, name: str, data: bytes, ttl_s: float | None = None) -> None:
        """Keep a small thing under a name."""
        await self._script(lua.PUT, name, data, "" if ttl_s is None else ttl_s)

    async def things(self, prefix: str, limit: int = 100) -> dict[str, bytes]:
        """What is kept under names that begin so, by name."""
        flat = await self._script(lua.THINGS, prefix, limit)
        return {name.decode(): data for name, data in zip(flat[::2], flat[1::2], strict=True)}

    async def drop(self, name: str) -> None:
        """Forget a small thing."""
        await self._script(lua.DROP, name)

    async def preview(self, key: str, index: int, data: bytes | None = None) -> bytes | None:
        """Keep the newest preview of a picture for ten minutes, or read it."""
        if data is None:
            name = f"{self._prefix}preview:{key}"
            found: bytes | None = await self._link.command("HGET", name, index)
            return found
        await self._script(lua.PREVIEW, key, index, data, int(ruled.PREVIEW_S * 1000))
        return data

    async def recent(self, owner: str, body_hash: str, key: str | None, ttl_s: float) -> str | None:
        """With `key`: remember it as the last job of this body. Without: which was it?"""
        name = f"recent:{owner}\0{body_hash}"
        if key is not None:
            await self._keep(name, key.encode(), ttl_s)
            return key
        found = await self._kept(name)
        return found.decode() if found is not None else None

    async def tell(self, card: WorkerCard, ttl_s: float) -> None:
        """A worker's card; it is forgotten after `ttl_s`."""
        await self._script(lua.TELL, card.name, ruled.card_text(card), ttl_s)

    async def workers(self) -> list[WorkerCard]:
        """The living ones, by name."""
        cards = [line.split(b" ", 1) for line in await self._script(lua.WORKERS)]
        found = [ruled.read_card(text, float(told)) for told, text in cards]
        return sorted(found, key=lambda card: card.name)

    async def take(self, bucket: str, amount: int, per_s: float, burst: int) -> Allowed:
        """Token bucket. `retry_s` is a day at most, also where `amount` is beyond `burst`."""
        ok, tokens = await self._script(lua.TAKE, bucket, amount, per_s, burst)
        return ruled.allowed(bool(ok), float(tokens), amount, per_s)

    async def is_ready(self) -> bool:
        """Can it be written to now? Never raises."""
        return await self._link.is_ready(f"{self._prefix}ready")

    # -- the line -------------------------------------------------------------------------------

    async def _script(self, text: str, *args: bytes | str | float) -> Any:
        return await self._link.script(text, self._prefix, *args)

    async def _due(self, name: str, older_s: float, limit: int) -> list[JobRecord]:
        texts = await self._script(lua.DUE, name, older_s, limit)
        return ruled.readable(texts, self._link.where)

    async def _keep(self, name: str, data: bytes, ttl_s: float) -> None:
        if (millis := int(ttl_s * 1000)) > 0:
            await self._link.command("SET", self._prefix + name, data, "PX", millis)
        else:
            await self._link.command("DEL", self._prefix + name)

    async def _kept(self, name: str) -> bytes | None:
        found: bytes | None = await self._link.command("GET", self._prefix + name)
        return found

    def _read(self, text: bytes) -> JobRecord:
        return ruled.read_record(text, self._link.where)


def _waiting(text: bytes) -> list[Waiting]:
    return [ruled.read_waiting(line) for line in text.decode().splitlines()]


def _row(record: JobRecord) -> tuple[str | float, ...]:
    is_over = record.is_ended and record.state != "expired"
    queued, running = record.state == "queued", record.state == "running"
    expires = "" if record.expires is None else record.expires
    return (
        record.model_dump_json(),
        record.state,
        record.owner,
        ruled.stamp(record),
        ruled.waiting_line(record),
        record.accepted if queued and not record.published else "",
        record.lease_until if running else "",
        expires if is_over else "",
        (record.expires or 0) + ruled.KEPT_AFTER_S if record.state == "expired" else "",
        "1" if running and record.cancel_asked else "",
        int(ruled.PREVIEW_AFTER_S * 1000) if record.is_ended else "",
    )
