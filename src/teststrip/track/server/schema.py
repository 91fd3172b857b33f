"""The two databases' schemas: what they are at, what MLflow wants, how they get there.

Two who migrate at once do no harm: one waits for the other (a lock of PostgreSQL; a file beside a
SQLite database).
"""

import importlib.util
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from teststrip.errors import MissingExtra, StorageError
from teststrip.files import storage_error
from teststrip.lock import waiting
from teststrip.track.server import first_schema
from teststrip.track.server.places import SQLITE, Places, shown, sqlite_path

log = logging.getLogger(__name__)
Which = Literal["runs", "users"]
LOCK = 0x7465_7374_7374_7269  # of PostgreSQL's advisory locks: ours
SCRIPTS: dict[Which, tuple[str, ...]] = {
    "runs": ("store", "db_migrations"),
    "users": ("server", "auth", "db", "migrations"),
}
VERSION_TABLE = {"runs": "alembic_version", "users": "alembic_version_auth"}


@dataclass(frozen=True)
class State:
    """A database's schema. `at` None: empty; `steps`: migrations that wait."""

    which: Which
    database: str  # without its log-in
    at: str | None
    wanted: str
    steps: int

    @property
    def is_current(self) -> bool:
        """Nothing is to be done."""
        return self.at == self.wanted


def states(places: Places, *, login: bool) -> list[State]:
    """Of both databases (without `login` of one). Raises StorageError: see `state`."""
    return [state(which, uri) for which, uri in _databases(places, login)]


def migrate(places: Places, *, login: bool) -> list[State]:
    """Bring both up to date; how they were before. Raises StorageError."""
    return [_migrated(which, uri) for which, uri in _databases(places, login)]


def check(places: Places, *, login: bool) -> None:
    """Raises StorageError where migrations wait, or as `state`."""
    behind = [one for one in states(places, login=login) if not one.is_current]
    if behind:
        waits = ", ".join(f"{one.database} ({one.steps} migrations)" for one in behind)
        raise StorageError(
            f"the schema is not up to date: {waits}. Back up, then run `teststrip track migrate`; "
            "TESTSTRIP_TRACK_MIGRATE=true lets `track serve` do it"
        )


def state(which: Which, uri: str) -> State:
    """Raises StorageError where the database is away or its schema is newer than MLflow here."""
    if uri.startswith(SQLITE) and not sqlite_path(uri).exists():
        return _state(which, uri, None)  # looking makes no file
    with opened(uri) as connection:
        return _state(which, uri, connection)


@contextmanager
def opened(uri: str) -> Iterator[Any]:
    """A connection in a transaction. Raises StorageError that shows no log-in."""
    import sqlalchemy
    from sqlalchemy.exc import SQLAlchemyError

    if uri.startswith(SQLITE):
        sqlite_path(uri).parent.mkdir(parents=True, exist_ok=True)
    engine = None
    try:
        engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
        with engine.begin() as connection:
            yield connection
    except (SQLAlchemyError, OSError, ImportError) as exc:
        if isinstance(exc, StorageError):
            raise
        reason = str(getattr(exc, "orig", None) or exc).strip().partition("\n")[0][:300]
        raise StorageError(
            f"the database {shown(uri)} cannot be used: {reason}. Is it up, is its log-in right, "
            "and does it exist? TESTSTRIP_TRACK_BACKEND and TESTSTRIP_TRACK_LOGIN_BACKEND name it"
        ) from exc
    finally:
        if engine is not None:
            engine.dispose()


def _databases(places: Places, login: bool) -> list[tuple[Which, str]]:
    runs: tuple[Which, str] = ("runs", places.backend)
    return [runs, ("users", places.login)] if login else [runs]


def _state(which: Which, uri: str, connection: Any) -> State:
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory
    from alembic.script.revision import RevisionError
    from alembic.util import CommandError

    scripts = ScriptDirectory.from_config(_alembic(which))
    wanted = scripts.get_current_head() or ""
    at = None
    if connection is not None:
        options = {"version_table": VERSION_TABLE[which]}
        at = MigrationContext.configure(connection, opts=options).get_current_revision()
    try:
        steps = sum(1 for _ in scripts.iterate_revisions(wanted, at or "base"))
    except (CommandError, RevisionError) as exc:
        raise StorageError(
            f"the database {shown(uri)} has a schema (revision {at}) that MLflow "
            f"{version('mlflow')} does not know: a newer one made it. Upgrade Teststrip here, "
            "or restore the backup from before the upgrade"
        ) from exc
    return State(which, shown(uri), at, wanted, steps)


def upgrade(which: Which, uri: str) -> None:
    """Run the migrations that wait, whatever is there."""
    from alembic import command

    if which == "runs" and state(which, uri).at is None:
        from mlflow.store.tracking.dbmodels.initial_models import Base

        with opened(uri) as connection:  # as MLflow does: its first migration alters these
            Base.metadata.create_all(connection)
    command.upgrade(_alembic(which, uri), "head")


def _migrated(which: Which, uri: str) -> State:
    with _alone(uri):
        before = state(which, uri)
        if before.is_current:
            return before
        log.info("schema of %s: %d migrations", before.database, before.steps)
        if uri.startswith(SQLITE):
            _beside(which, sqlite_path(uri), before)
        else:
            upgrade(which, uri)  # PostgreSQL takes all of them back where one fails
    return before


def _beside(which: Which, path: Path, before: State) -> None:
    """SQLite keeps half a migration: make the new file beside the old one, which stays there."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    try:
        if before.at is None:
            made = first_schema.load(new, which, before.wanted)
        else:
            made = False
            copy(path, new)
        if not made:
            upgrade(which, f"{SQLITE}{new}")
        if before.at is not None:
            path.replace(path.with_name(f"{path.name}.before-{before.at}"))
        new.replace(path)
    except OSError as exc:
        if isinstance(exc, StorageError):
            raise
        raise storage_error(path, exc) from exc


def copy(source: Path, target: Path) -> None:
    """A whole copy of a SQLite database that others use meanwhile; who writes waits for it.

    In one step: a copy in many begins anew whenever somebody writes.
    """
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def _alembic(which: Which, uri: str = "") -> Any:
    from alembic.config import Config

    mlflow = importlib.util.find_spec("mlflow")  # importing it here would take seconds
    if mlflow is None or not mlflow.submodule_search_locations:
        raise MissingExtra("the tracking server (package mlflow)", "server")
    folder = Path(mlflow.submodule_search_locations[0], *SCRIPTS[which])
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("sqlalchemy.url", uri.replace("%", "%%"))
    return config


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Hold the right to migrate; waits for whoever has it."""
    if uri.startswith(SQLITE):
        path = sqlite_path(uri)
        with waiting(path.with_name(f".{path.name}.migrate")):
            yield
        return
    import sqlalchemy

    with opened(uri) as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
        yield
