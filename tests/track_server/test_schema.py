"""Schemas: what is written down is what the migrations make; newer ones are refused."""

import json
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from teststrip.errors import StorageError
from teststrip.track.server import first_schema, schema
from teststrip.track.server.config import ServerConfig
from teststrip.track.server.places import places

BY_MIGRATIONS = """
import sys
from teststrip.track.server import schema
for which in ("runs", "users"):
    schema.upgrade(which, f"sqlite:///{sys.argv[1]}/{which}.db")
from alembic import command
command.upgrade(schema._alembic("runs", f"sqlite:///{sys.argv[1]}/old.db"), "base")
from mlflow.store.tracking.dbmodels.initial_models import Base
with schema.opened(f"sqlite:///{sys.argv[1]}/old.db") as connection:
    Base.metadata.create_all(connection)
scripts = list(__import__("alembic.script").script.ScriptDirectory.from_config(
    schema._alembic("runs")).walk_revisions())
command.upgrade(schema._alembic("runs", f"sqlite:///{sys.argv[1]}/old.db"), scripts[3].revision)
print(scripts[3].revision)
"""


def verb(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "teststrip", "track", *words, "--json"],
        env={"PATH": "/usr/bin:/bin", "TESTSTRIP_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def shape(path: Path) -> dict[str, object]:
    """Columns in their order; constraints and indexes, whose order differs from run to run."""
    found: dict[str, object] = {}
    with closing(sqlite3.connect(path)) as database:
        for kind, name, sql in database.execute("SELECT type, name, sql FROM sqlite_master"):
            words = sorted((sql or "").replace(",", " , ").replace("(", " ( ").split())
            columns = database.execute(f"PRAGMA table_info({name!r})").fetchall()
            found[f"{kind} {name}"] = (columns, words)
            if kind == "table" and (name.startswith("alembic") or name == "workspaces"):
                found[f"rows of {name}"] = database.execute(f"SELECT * FROM {name}").fetchall()
    return found


@pytest.fixture(scope="module")
def migrated(tmp_path_factory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("migrated")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BY_MIGRATIONS, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, done.stdout.strip()


@pytest.mark.slow  # all migrations
@pytest.mark.parametrize("which", ["runs", "users"])
def test_a_new_file_is_what_the_migrations_make(which, migrated, tmp_path) -> None:
    folder, _ = migrated
    wanted = schema.state(which, f"sqlite:///{folder}/{which}.db")
    assert wanted.is_current
    assert first_schema.load(tmp_path / "new.db", which, wanted.wanted), (
        "MLflow has another schema: python -m teststrip.track.server.first_schema"
    )
    assert shape(tmp_path / "new.db") == shape(folder / f"{which}.db")


@pytest.mark.slow
def test_an_older_file_is_migrated_beside_itself_by_two_at_once(migrated, tmp_path) -> None:
    folder, old = migrated
    there = tmp_path / "track" / "mlflow.db"
    there.parent.mkdir(parents=True)
    schema.copy(folder / "old.db", there)
    with closing(sqlite3.connect(there)) as database, database:
        database.execute("INSERT INTO experiments (name, lifecycle_stage) VALUES ('owls','active')")
    with ThreadPoolExecutor(2) as both:
        done = list(both.map(lambda _: verb(tmp_path, "migrate"), range(2)))
    said = [json.loads(one.stdout)["databases"][0]["steps"] for one in done]
    assert sorted(said) == [0, 3], done
    assert verb(tmp_path, "migrate", "--check").returncode == 0
    with closing(sqlite3.connect(there)) as database:
        assert database.execute("SELECT name FROM experiments").fetchall() == [("owls",)]
    assert schema.state("runs", f"sqlite:///{there}.before-{old}").at == old
    assert shape(there).keys() == shape(folder / "runs.db").keys()


def test_looking_makes_no_file(tmp_path) -> None:
    found = schema.states(places(tmp_path, ServerConfig()), login=True)
    assert [state.at for state in found] == [None, None]
    assert found[0].steps > 60
    assert list(tmp_path.iterdir()) == []


def test_a_newer_schema_is_refused(tmp_path) -> None:
    first_schema.load(tmp_path / "x.db", "runs", schema.state("runs", "sqlite:////nowhere").wanted)
    with closing(sqlite3.connect(tmp_path / "x.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'fromthefuture'")
    with pytest.raises(StorageError, match=r"fromthefuture.*a newer one made it"):
        schema.state("runs", f"sqlite:///{tmp_path}/x.db")


def test_a_database_that_is_away_is_told_without_its_password() -> None:
    with pytest.raises(StorageError, match="cannot be used") as told:
        schema.state("runs", "postgresql://someone:hush@127.0.0.1:1/mlflow")
    assert "hush" not in str(told.value)
    assert "postgresql://127.0.0.1:1/mlflow" in str(told.value)
