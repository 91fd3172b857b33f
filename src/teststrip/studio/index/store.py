"""The DuckDB database behind the index: a file that may be thrown away, or memory."""

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from teststrip.studio.index.entry import Entry, Score, Setting

log = logging.getLogger(__name__)
FORMAT = "1"
OPTIONS = {
    "threads": "2",
    "memory_limit": "512MB",
    "enable_external_access": "false",  # SQL reads nothing but this database
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}


def connect(path: Path | None) -> tuple[Any, Path | None]:
    """A connection and its file. A damaged file is made anew; it can always be built again.

    Memory, with a line in the log, where the file is another process's or its folder refuses it.
    """
    import duckdb

    if path is None:
        return duckdb.connect(":memory:", config=OPTIONS), None
    why = ""
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return duckdb.connect(str(path), config=OPTIONS), path
        except (duckdb.Error, OSError) as exc:
            why = str(exc)
        if "Could not set lock on file" in why:
            why = "another process has it"
            break
        try:
            for file in (path, path.with_name(path.name + ".wal")):
                file.unlink(missing_ok=True)
        except OSError:
            break
        log.warning("%s cannot be opened and is made anew: %s", path, why)
    log.warning("the index is kept in memory: %s cannot be used: %s", path, why)
    return duckdb.connect(":memory:", config=OPTIONS), None


def prepare(connection: Any) -> None:
    """The table of studies; an index of another format is emptied first."""
    there = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE schema_name = 'main'"
    ).fetchall()
    names = {str(row[0]) for row in there}
    known = "studies" in names and connection.execute(
        "SELECT count(*) FROM studies WHERE format <> ?", [FORMAT]
    ).fetchone() == (0,)
    if not known:
        for name in names:
            connection.execute(f'DROP TABLE "{name}"')
    connection.execute(
        "CREATE TABLE IF NOT EXISTS studies "
        "(format VARCHAR, name VARCHAR, number BIGINT, stamp VARCHAR, entry VARCHAR)"
    )


def remember(connection: Any, entry: Entry, number: int, stamp: str) -> None:
    """Write what is known of a study beside its table."""
    forget(connection, entry.name)
    connection.execute(
        "INSERT INTO studies VALUES (?, ?, ?, ?, ?)",
        [FORMAT, entry.name, number, stamp, json.dumps(asdict(entry))],
    )


def forget(connection: Any, name: str) -> None:
    """Its row."""
    connection.execute("DELETE FROM studies WHERE name = ?", [name])


def remembered(connection: Any) -> list[tuple[Entry, int, str]]:
    """Entry, number of the table and stamp of every study in the database."""
    found = connection.execute("SELECT entry, number, stamp FROM studies").fetchall()
    return [(_entry(json.loads(text)), number, stamp) for text, number, stamp in found]


def _entry(data: dict[str, Any]) -> Entry:
    settings = tuple(Setting(**s | {"values": tuple(s["values"])}) for s in data["settings"])
    scores = tuple(Score(**s) for s in data["scores"])
    return Entry(**data | {"settings": settings, "scores": scores, "tags": tuple(data["tags"])})
