"""What only SqliteState can go wrong with: its file, other processes, a kill in the middle."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from teststrip.errors import StorageError
from teststrip.serve.state.sqlite import SqliteState

pytestmark = pytest.mark.anyio
CHILD = """
import asyncio, sys
from pathlib import Path
from teststrip.recipe import Recipe
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.state.sqlite import SqliteState

async def main():
    state = SqliteState(Path(sys.argv[1]))
    await state.open()
    ids = JobIds(b"a secret of the tests alone")
    while True:
        name = ids.new("child")
        record = JobRecord(id=name.name, key=name.key, owner="child", prompt="a cat",
                           recipe=Recipe(), seeds=(1,))
        await state.create(record)
        claim = await state.claim(record, "child", 60)
        await state.move(record.key, claim.fence, "done")
        print(record.key, flush=True)

asyncio.run(main())
"""


async def test_what_was_told_survives_a_kill_in_the_middle(tmp_path):
    path = tmp_path / "state.db"
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True
    )
    told = [child.stdout.readline().strip() for _ in range(30)]
    os.kill(child.pid, signal.SIGKILL)
    told += child.stdout.read().split()
    child.stdout.close()
    child.wait()
    state = SqliteState(path)
    await state.open()
    ended = {record.key for record in (await state.page("child", "done", limit=10_000))[0]}
    assert set(told[:30]) <= ended
    assert {key for key in told if len(key) == 32} <= ended
    counts = await state.counts()
    assert sum(counts.values()) <= 1  # at most the one in the middle
    await state.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


async def test_another_process_that_writes_is_waited_for(tmp_path, a_job):
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    other = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    creating = asyncio.create_task(state.create(a_job()))
    assert not (await asyncio.wait([creating], timeout=0.1))[0]
    other.execute("ROLLBACK")
    other.close()
    assert (await creating).is_new
    await state.close()


async def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "state.db"
    path.write_bytes(b"something else " * 100)
    with pytest.raises(StorageError, match=r"state\.db.*move it away"):
        await SqliteState(path).open()


async def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        await SqliteState(tmp_path / "file" / "state.db").open()


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "state.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StorageError, match="schema 99"):
        await SqliteState(path).open()


async def test_a_record_that_cannot_be_read_harms_no_other(tmp_path, a_job, caplog):
    state = SqliteState(tmp_path / "state.db")
    await state.open()
    good, bad = a_job(), a_job()
    for record in (good, bad):
        await state.create(record)
    db = sqlite3.connect(tmp_path / "state.db")
    with db:
        db.execute("UPDATE jobs SET record = '{\"format\": 9}' WHERE key = ?", (bad.key,))
    db.close()
    assert (await state.page(None))[0] == [good]
    assert "cannot be read" in caplog.text
    with pytest.raises(StorageError, match="another version"):
        await state.get(bad.key)
    await state.close()


async def test_it_says_when_it_is_not_open(tmp_path):
    with pytest.raises(StorageError, match="not open"):
        await SqliteState(tmp_path / "state.db").get("x")
