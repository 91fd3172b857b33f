"""The tables of the state in one SQLite file, and how it is opened."""

import sqlite3
from pathlib import Path

from teststrip.errors import StorageError

SCHEMA_VERSION = 1
BUSY_S = 15.0  # another process writes: transactions take milliseconds
TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    key TEXT PRIMARY KEY,
    record TEXT NOT NULL,
    state TEXT NOT NULL,
    owner TEXT NOT NULL,
    stamp TEXT NOT NULL,       -- order and cursor of lists
    line TEXT NOT NULL,        -- what `waiting` tells
    published INTEGER NOT NULL,
    cancel INTEGER NOT NULL,
    accepted REAL NOT NULL,
    lease_until REAL NOT NULL,
    expires REAL
);
CREATE UNIQUE INDEX IF NOT EXISTS jobs_stamp ON jobs (stamp);
CREATE INDEX IF NOT EXISTS jobs_owner ON jobs (owner, stamp);
CREATE INDEX IF NOT EXISTS jobs_state ON jobs (state, stamp);
CREATE INDEX IF NOT EXISTS jobs_owner_state ON jobs (owner, state, stamp);
-- small ones, named by the queries that need them (INDEXED BY): the planner overlooks them
CREATE INDEX IF NOT EXISTS jobs_waiting ON jobs (line) WHERE state = 'queued';
CREATE INDEX IF NOT EXISTS jobs_unsent ON jobs (accepted) WHERE state = 'queued' AND published = 0;
CREATE INDEX IF NOT EXISTS jobs_lease ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX IF NOT EXISTS jobs_expiry ON jobs (expires)
    WHERE state IN ('done', 'failed', 'cancelled');
CREATE INDEX IF NOT EXISTS jobs_over ON jobs (expires) WHERE state = 'expired';
CREATE TABLE IF NOT EXISTS things (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    data BLOB NOT NULL,
    until REAL,                -- NULL: until it is dropped
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buckets (
    name TEXT PRIMARY KEY, tokens REAL NOT NULL, at REAL NOT NULL
) WITHOUT ROWID;
"""


def connect(path: Path) -> sqlite3.Connection:
    """The file with its tables, made where it is not there.

    The journal is written ahead without waiting for the disk at each change: a killed process
    loses nothing; a power cut may lose the last moments, but breaks nothing. Raises StorageError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    except (OSError, sqlite3.Error) as exc:
        raise StorageError(f"{path}: cannot be opened: {exc}; is the folder writable?") from exc
    try:
        _prepare(db, path)
    except sqlite3.OperationalError as exc:
        db.close()
        raise StorageError(f"{path}: cannot be used: {exc}; may this process write there?") from exc
    except sqlite3.DatabaseError as exc:
        db.close()
        raise StorageError(
            f"{path}: is no usable SQLite file: {exc}; move it away and start again"
        ) from exc
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute("BEGIN IMMEDIATE")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, SCHEMA_VERSION):
        raise StorageError(
            f"{path}: was made by another version of Teststrip (schema {version}, this one knows "
            f"{SCHEMA_VERSION}); use that version or another file"
        )
    for statement in TABLES.split(";"):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    db.execute("COMMIT")
