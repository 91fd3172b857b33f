"""SqliteState: one file, for a service that is one process (others may read and write it too)."""

import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.jobs.states import OPEN, State
from teststrip.serve.state import ruled, rules
from teststrip.serve.state.base import Allowed, Waiting, WorkerCard
from teststrip.serve.state.sqlite_file import SqliteFile

UPSERT = """INSERT INTO jobs
    (key, record, state, owner, stamp, line, published, cancel, accepted, lease_until, expires)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET record = excluded.record, state = excluded.state,
    published = excluded.published, cancel = excluded.cancel, lease_until = excluded.lease_until,
    expires = excluded.expires"""

PREVIEWS_END = """UPDATE things SET until = min(until, ?1)
    WHERE kind = 'preview' AND name BETWEEN ?2 || ':' AND ?2 || ';'"""  # ; follows :


class SqliteState(ruled.RuledState):
    """`JobState` in a file. One thread of its own does all of it, a transaction at a time."""

    def __init__(self, path: Path, *, result_ttl_s: float = ruled.RESULT_TTL_S) -> None:
        super().__init__(result_ttl_s)
        self._file = SqliteFile(path)

    async def open(self) -> None:
        """Open the file, and make it where it is not there. Raises StorageError."""
        await self._file.open()

    async def close(self) -> None:
        """Let go of the file, after what is under way."""
        await self._file.close()

    # -- records --------------------------------------------------------------------------------

    async def _change(
        self, key: str, rule: rules.Rule, *, timeless: bool = False
    ) -> tuple[JobRecord | None, bool]:
        def work(db: sqlite3.Connection) -> tuple[JobRecord | None, bool]:
            row = db.execute("SELECT record FROM jobs WHERE key = ?", (key,)).fetchone()
            found = self._read(row[0]) if row else None
            ruling = rule(found, time.time())
            if ruling.write is not None:
                db.execute(UPSERT, _row(ruling.write))
                if ruling.write.is_ended:
                    db.execute(PREVIEWS_END, (time.time() + ruled.PREVIEW_AFTER_S, key))
            elif ruling.drop:
                db.execute("DELETE FROM jobs WHERE key = ?", (key,))
            return ruling.answer, ruling.write is not None or ruling.drop

        return await self._file.write(work)

    async def get(self, key: str) -> JobRecord | None:
        """The record, or None."""
        rows = await self._file.rows("SELECT record FROM jobs WHERE key = ?", key)
        return self._read(rows[0][0]) if rows else None

    async def page(
        self, owner: str | None, state: State | None = None, before: str = "", limit: int = 50
    ) -> tuple[list[JobRecord], str]:
        """Newest first, with the cursor of the next page. Raises ConfigError for a bad cursor."""
        ruled.check_cursor(before)
        wanted = {"owner = ?": owner, "state = ?": state, "stamp < ?": before or None}
        where = " AND ".join(term for term, value in wanted.items() if value is not None) or "1"
        rows = await self._file.rows(
            f"SELECT record, stamp FROM jobs WHERE {where} ORDER BY stamp DESC LIMIT ?",  # noqa: S608
            *(value for value in wanted.values() if value is not None),
            limit + 1,
        )
        shown = rows[:limit]
        cursor = shown[-1][1] if len(rows) > limit else ""
        return ruled.readable((row[0] for row in shown), str(self._file.path)), cursor

    async def waiting(self) -> list[Waiting]:
        """All queued jobs, oldest first."""
        query = "SELECT line FROM jobs INDEXED BY jobs_waiting WHERE state = 'queued' ORDER BY line"
        return await self._file.read(
            lambda db: [ruled.read_waiting(row[0]) for row in db.execute(query)]
        )

    async def counts(self, owner: str | None = None) -> Mapping[State, int]:
        """How many jobs are queued and running, of one owner or of all."""
        of, values = ("AND owner = ?", (owner,)) if owner is not None else ("", ())
        rows = await self._file.rows(
            "SELECT state, count(*) FROM jobs WHERE state IN ('queued', 'running') "  # noqa: S608
            f"{of} GROUP BY state",
            *values,
        )
        return dict.fromkeys(sorted(OPEN), 0) | dict(rows)

    async def cancelled_now(self, keys: Sequence[str]) -> set[str]:
        """Which of these running jobs were asked to be cancelled."""
        marks = ", ".join("?" * len(keys))
        query = f"SELECT key FROM jobs WHERE state = 'running' AND cancel AND key IN ({marks})"  # noqa: S608
        return {row[0] for row in await self._file.rows(query, *keys)} if keys else set()

    # -- sweeping -------------------------------------------------------------------------------

    async def unpublished(self, older_s: float, limit: int = 100) -> list[JobRecord]:
        """Accepted that long ago and never confirmed by the queue, oldest first."""
        term = "jobs_unsent WHERE state = 'queued' AND published = 0 AND accepted <= ?"
        return await self._records(f"{term} ORDER BY accepted", time.time() - older_s, limit)

    async def stale(self, limit: int = 100) -> list[JobRecord]:
        """Running with a lease that ran out."""
        term = "jobs_lease WHERE state = 'running' AND lease_until <= ?"
        return await self._records(f"{term} ORDER BY lease_until", time.time(), limit)

    async def expired(self, limit: int = 100) -> list[JobRecord]:
        """Ended and past `expires`. Drops what was kept long enough besides."""
        now = time.time()

        def tidy(db: sqlite3.Connection) -> None:
            db.execute(
                "DELETE FROM jobs INDEXED BY jobs_over WHERE state = 'expired' AND expires <= ?",
                (now - ruled.KEPT_AFTER_S,),
            )
            db.execute("DELETE FROM things WHERE until <= ?", (now,))
            db.execute("DELETE FROM buckets WHERE at <= ?", (now - ruled.LONGEST_WAIT_S,))

        await self._file.write(tidy)
        term = "jobs_expiry WHERE state IN ('done', 'failed', 'cancelled') AND expires <= ?"
        return await self._records(f"{term} ORDER BY expires", now, limit)

    async def lead(self, who: str, ttl_s: float) -> bool:
        """Is this process the one that sweeps now?"""

        def work(db: sqlite3.Connection) -> bool:
            held = _kept(db, "lead", "sweeper")
            if held is not None and held != who.encode():
                return False
            _keep(db, "lead", "sweeper", who.encode(), ttl_s)
            return True

        return await self._file.write(work)

    # -- small things ---------------------------------------------------------------------------

    async def put(self, name: str, data: bytes, ttl_s: float | None = None) -> None:
        """Keep a small thing under a name."""
        await self._keep("thing", name, data, ttl_s)

    async def things(self, prefix: str, limit: int = 100) -> dict[str, bytes]:
        """What is kept under names that begin so, by name."""
        rows = await self._file.rows(
            "SELECT name, data FROM things WHERE kind = 'thing' AND name >= ? AND name < ? "
            "AND (until IS NULL OR until > ?) ORDER BY name LIMIT ?",
            *(prefix, prefix + "\U0010ffff", time.time(), limit),
        )
        return dict(rows)

    async def drop(self, name: str) -> None:
        """Forget a small thing."""
        query = "DELETE FROM things WHERE kind = 'thing' AND name = ?"
        await self._file.write(lambda db: db.execute(query, (name,)))

    async def preview(self, key: str, index: int, data: bytes | None = None) -> bytes | None:
        """Keep the newest preview of a picture for ten minutes, or read it."""
        name = f"{key}:{index}"
        if data is None:
            return await self._kept("preview", name)
        await self._keep("preview", name, data, ruled.PREVIEW_S)
        return data

    async def recent(self, owner: str, body_hash: str, key: str | None, ttl_s: float) -> str | None:
        """With `key`: remember it as the last job of this body. Without: which was it?"""
        name = f"{owner}\0{body_hash}"
        if key is not None:
            await self._keep("recent", name, key.encode(), ttl_s)
            return key
        found = await self._kept("recent", name)
        return found.decode() if found is not None else None

    async def tell(self, card: WorkerCard, ttl_s: float) -> None:
        """A worker's card; it is forgotten after `ttl_s`."""
        text = f"{time.time():.6f} {ruled.card_text(card)}".encode()
        await self._keep("worker", card.name, text, ttl_s)

    async def workers(self) -> list[WorkerCard]:
        """The living ones, by name."""
        query = "SELECT data FROM things WHERE kind = 'worker' AND until > ? ORDER BY name"
        cards = [row[0].split(b" ", 1) for row in await self._file.rows(query, time.time())]
        return [ruled.read_card(text, float(told)) for told, text in cards]

    async def take(self, bucket: str, amount: int, per_s: float, burst: int) -> Allowed:
        """Token bucket. `retry_s` is a day at most, also where `amount` is beyond `burst`."""

        def work(db: sqlite3.Connection) -> Allowed:
            now = time.time()
            row = db.execute("SELECT tokens, at FROM buckets WHERE name = ?", (bucket,)).fetchone()
            tokens, at = row or (burst, now)
            tokens = min(burst, tokens + max(0.0, now - at) * per_s)
            if ok := tokens >= amount:
                tokens -= amount
            db.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", (bucket, tokens, now))
            return ruled.allowed(ok, tokens, amount, per_s)

        return await self._file.write(work)

    async def is_ready(self) -> bool:
        """Can it be written to now? Never raises."""
        try:
            await self._keep("ready", "", b"", 60)
        except StorageError:
            return False
        return True

    # -- the file -------------------------------------------------------------------------------

    def _read(self, text: str) -> JobRecord:
        return ruled.read_record(text, str(self._file.path))

    async def _records(self, index_and_term: str, now: float, limit: int) -> list[JobRecord]:
        query = f"SELECT record FROM jobs INDEXED BY {index_and_term} LIMIT ?"  # noqa: S608
        rows = await self._file.rows(query, now, limit)
        return ruled.readable((row[0] for row in rows), str(self._file.path))

    async def _keep(self, kind: str, name: str, data: bytes, ttl_s: float | None) -> None:
        await self._file.write(lambda db: _keep(db, kind, name, data, ttl_s))

    async def _kept(self, kind: str, name: str) -> bytes | None:
        return await self._file.read(lambda db: _kept(db, kind, name))


def _keep(db: sqlite3.Connection, kind: str, name: str, data: bytes, ttl_s: float | None) -> None:
    until = None if ttl_s is None else time.time() + ttl_s
    db.execute("INSERT OR REPLACE INTO things VALUES (?, ?, ?, ?)", (kind, name, data, until))


def _kept(db: sqlite3.Connection, kind: str, name: str) -> bytes | None:
    query = "SELECT data FROM things WHERE kind = ? AND name = ? AND until > ?"
    row = db.execute(query, (kind, name, time.time())).fetchone()
    return row[0] if row else None


def _row(record: JobRecord) -> tuple[Any, ...]:
    return (
        record.key,
        record.model_dump_json(),
        record.state,
        record.owner,
        ruled.stamp(record),
        ruled.waiting_line(record),
        record.published,
        record.cancel_asked,
        record.accepted,
        record.lease_until,
        record.expires,
    )
