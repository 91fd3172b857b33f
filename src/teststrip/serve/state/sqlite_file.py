"""One SQLite file with a thread of its own: all of its work, one piece at a time."""

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from teststrip.errors import StorageError
from teststrip.serve.state.sqlite_schema import connect

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class SqliteFile:
    """Runs work in its thread, so that the event loop never waits. Raises StorageError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None
        self._thread: ThreadPoolExecutor | None = None

    async def open(self) -> None:
        """Open the file, and make it where it is not there."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="state")

            def start() -> None:
                self._db = connect(self.path)

            try:
                await self._in_thread(start)
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Let go of the file, after what is under way; what comes later is refused."""
        if (thread := self._thread) is not None:

            def stop() -> None:
                if self._db is not None:
                    self._db.close()
                self._db = None

            stopping = self._in_thread(stop)
            self._thread = None
            await stopping
            thread.shutdown()

    async def rows(self, query: str, *values: Any) -> list[Any]:
        """All rows of a query."""
        return await self.read(lambda db: db.execute(query, values).fetchall())

    async def read(self, work: Work[T]) -> T:
        """Do some work outside of any transaction."""

        def safely() -> T:
            if self._db is None:
                raise StorageError(f"{self.path}: is not open")
            try:
                return work(self._db)
            except sqlite3.Error as exc:
                raise StorageError(f"{self.path}: cannot be used: {exc}") from exc

        return await self._in_thread(safely)

    async def write(self, work: Work[T]) -> T:
        """One transaction, alone in all processes; all of it or nothing."""

        def whole(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                answer = work(db)
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return answer

        return await self.read(whole)

    def _in_thread(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        if self._thread is None:
            raise StorageError(f"{self.path}: is not open")
        return asyncio.get_running_loop().run_in_executor(self._thread, work)
