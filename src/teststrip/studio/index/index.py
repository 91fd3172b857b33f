"""Index: the images of all studies in DuckDB."""

# ruff: noqa: S608 - SQL holds our own table names and quoted columns; values go through `?`

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from teststrip.errors import StorageError, StudyError
from teststrip.studio.index import derive, load, store
from teststrip.studio.index.describe import describe, directions, objective_of
from teststrip.studio.index.entry import Entry
from teststrip.studio.index.follow import Follower
from teststrip.studio.index.scan import Found, Scanner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """A study in the index. `number` names its table, `stamp` the files it was made of."""

    entry: Entry
    number: int
    stamp: str
    fault: str = ""


class Index:
    """Thread-safe: each query has a cursor of its own; one refresh at a time.

    A refresh swaps a study's table whole, so a query sees the old images or the new ones.
    """

    def __init__(self, path: Path | None = None) -> None:
        """`path`: a DuckDB file that this process alone writes; None: in memory.

        A file that cannot be used (another process has it, a read-only disk) is left alone: then
        this index is in memory, `path` is None and the log says why.
        """
        self._connection, self.path = store.connect(path)
        self._writing = threading.RLock()
        self._scanner = Scanner()
        self._kept: dict[str, Kept] = {}
        store.prepare(self._connection)
        for entry, number, stamp in store.remembered(self._connection):
            self._kept[entry.name] = Kept(entry, number, stamp)
        self._next = 1 + max((kept.number for kept in self._kept.values()), default=0)
        self._follower: Follower | None = None

    def refresh(self, home: Path) -> list[str]:
        """Load what is new or changed under `home`, drop what vanished; returns their names.

        One study that cannot be read is an entry of state `failed` without images.
        """
        with self._writing:
            found = {study.name: study for study in self._scanner.scan(home)}
            changed = [name for name in self._kept if name not in found]
            for name in changed:
                self._drop(name)
            for name, study in found.items():
                kept = self._kept.get(name)
                if kept is None or kept.stamp != study.stamp:
                    self._load(study, kept)
                    changed.append(name)
            return changed

    def rebuild(self, home: Path) -> list[str]:
        """Forget everything and load all studies again."""
        with self._writing:
            for name in list(self._kept):
                self._drop(name)
            return self.refresh(home)

    def follow(
        self,
        home: Path,
        interval_s: float = 2.0,
        on_change: Callable[[list[str]], None] | None = None,
    ) -> Follower:
        """Refresh again and again in the background, until `close` or the follower's `stop`."""
        if self._follower is not None:
            self._follower.stop()
        self._follower = Follower(lambda: self.refresh(home), interval_s, on_change)
        return self._follower

    def close(self) -> None:
        """Stop following and close the database; harmless twice."""
        if self._follower is not None:
            self._follower.stop()
        with self._writing:
            self._connection.close()

    def entries(self) -> list[Entry]:
        """All studies, the newest first."""
        kept = [kept.entry for kept in list(self._kept.values())]
        return sorted(kept, key=lambda entry: (entry.created, entry.name), reverse=True)

    def entry(self, name: str) -> Entry:
        """Raises StudyError where there is none of that name."""
        return self._find(name).entry

    def fault(self, name: str) -> str:
        """Why a study of state `failed` could not be read; empty for all others."""
        return self._find(name).fault

    def table(self, name: str) -> str:
        """The quoted SQL name of a study's images. Raises StudyError."""
        return _table(self._find(name).number)

    def columns(self, name: str) -> list[str]:
        """The columns of a study's table, for allow-lists. Raises StudyError."""
        rows = self.query(f"DESCRIBE {self.table(name)}")
        return [str(row["column_name"]) for row in rows]

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows of a SELECT as dicts; values only through `?`.

        Raises StudyError where its study was dropped meanwhile, StorageError without memory.
        """
        names, rows = self._ask(sql, values)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """As `query`, but bare rows: for thousands of them."""
        return self._ask(sql, values)[1]

    def _ask(self, sql: str, values: Sequence[Any]) -> tuple[list[str], list[tuple[Any, ...]]]:
        import duckdb

        cursor = self._connection.cursor()
        try:
            cursor.execute(sql, list(values))
            return [column[0] for column in cursor.description], cursor.fetchall()
        except duckdb.CatalogException as exc:
            if "images_" in str(exc):
                raise StudyError("this study went away just now; load the page again") from exc
            raise
        except duckdb.OutOfMemoryException as exc:
            raise StorageError("the index needs more memory than it may take for this") from exc
        finally:
            cursor.close()

    def _find(self, name: str) -> Kept:
        kept = self._kept.get(name)
        if kept is None:
            known = ", ".join(entry.name for entry in self.entries()[:8]) or "none"
            raise StudyError(f"no study {name[:64]!r} here; there are: {known}")
        return kept

    def _load(self, found: Found, before: Kept | None) -> None:
        number = before.number if before else self._next
        self._next = max(self._next, number + 1)
        fault, table = found.fault, load.empty()
        try:
            if not fault and found.table.exists():
                table = load.read(found.table)
            kept = self._write(found, number, table, fault)
        except (StorageError, _duckdb_error()) as exc:
            log.warning("study %s is shown without images: %s", found.name, exc)
            fault = str(exc)
            kept = self._write(found, number, load.empty(), fault)
        self._kept[found.name] = replace(kept, fault=fault)

    def _write(self, found: Found, number: int, table: Any, fault: str) -> Kept:
        """In one transaction: the table, and what is known of it."""
        kinds = load.kinds_of(table)
        numeric = [
            name
            for name, kind in kinds.items()
            if kind in (load.WHOLE, load.REAL) and not name.startswith(load.SETTINGS)
        ]
        objective = objective_of(found, numeric)
        scores = directions(found, numeric, objective)
        cursor = self._connection.cursor()
        cursor.register("incoming", table)
        try:
            cursor.execute("BEGIN")
            cursor.execute(_create(number, table, scores, objective))
            entry = describe(
                found,
                _table(number),
                kinds=kinds,
                scores=scores,
                objective=objective,
                rows=_rows(cursor),
                fault=fault,
            )
            store.remember(cursor, entry, number, found.stamp)
            cursor.execute("COMMIT")
        except BaseException:
            cursor.execute("ROLLBACK")
            raise
        finally:
            cursor.unregister("incoming")
            cursor.close()
        return Kept(entry, number, found.stamp)

    def _drop(self, name: str) -> None:
        kept = self._kept.pop(name)
        self._connection.execute(f"DROP TABLE IF EXISTS {_table(kept.number)}")
        store.forget(self._connection, name)


def _create(
    number: int, table: Any, scores: dict[str, bool], objective: tuple[str | None, bool]
) -> str:
    usable = {name: higher for name, higher in scores.items() if name != "seconds"}
    ranked = derive.ranks(usable, "prompt_id")
    names = [f'"rank {i}"' for i in range(len(ranked))]
    without = f" EXCLUDE ({', '.join(names)})" if names else ""
    spread = derive.disagreement([derive.scorer_of(name) for name in usable])
    return (
        f"CREATE OR REPLACE TABLE {_table(number)} AS WITH "
        f"base AS (SELECT {', '.join(load.selected(table))} FROM incoming), "
        f"ranked AS (SELECT {', '.join(['*', *ranked])} FROM base) "
        f'SELECT *{without}, {derive.lead(*objective)} AS "lead", {spread} AS disagreement '
        "FROM ranked ORDER BY image_id"
    )


def _rows(cursor: Any) -> Callable[[str], list[dict[str, Any]]]:
    def ask(sql: str) -> list[dict[str, Any]]:
        cursor.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return ask


def _table(number: int) -> str:
    return f'"images_{number}"'


def _duckdb_error() -> type[Exception]:
    import duckdb

    found: type[Exception] = duckdb.Error
    return found
