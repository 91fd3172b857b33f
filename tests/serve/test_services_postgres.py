"""The PostgreSQL that scripts/services.sh starts is a real one, and can be broken on purpose."""

import asyncio
import os

import psycopg
import pytest

pytestmark = [pytest.mark.service, pytest.mark.anyio]


@pytest.fixture
def postgres(namespace):
    """An address of a database that no other test uses."""
    server = os.environ.get("TESTSTRIP_TEST_POSTGRES")
    if not server:
        pytest.fail("TESTSTRIP_TEST_POSTGRES is not set: scripts/services.sh run", pytrace=False)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'create database "{namespace}"')  # type: ignore[call-overload]
    return f"{server.rpartition('/')[0]}/{namespace}"


@pytest.fixture
def three(postgres):
    """The same, with three rows in it."""
    with psycopg.connect(postgres) as connection:
        connection.execute("create table kept as select generate_series(1, 3) as n")
    return postgres


def count(address):
    with psycopg.connect(address) as connection:
        return connection.execute("select count(*) from kept").fetchone()[0]


@pytest.mark.parametrize("how", [(), ("--kill",)])
async def test_what_was_committed_outlives_a_restart(three, services, how):
    with psycopg.connect(three) as held:
        await services("restart", "postgres", *how)
        with pytest.raises(psycopg.OperationalError):
            held.execute("select 1")
    assert count(three) == 3


async def test_a_paused_one_refuses_and_a_hung_one_says_nothing(three, services):
    pause = asyncio.create_task(services("pause", "postgres", "1"))
    while not pause.done():
        try:
            await asyncio.to_thread(count, three)
        except psycopg.OperationalError:
            break
        await asyncio.sleep(0.01)
    assert not pause.done(), "it never refused"
    await pause
    with psycopg.connect(three, autocommit=True) as held:
        hang = asyncio.create_task(services("hang", "postgres", "2"))
        was_silent = False
        while not hang.done():
            asked = asyncio.create_task(asyncio.to_thread(held.execute, "select 1"))
            answered, _ = await asyncio.wait([asked], timeout=1)
            was_silent |= not answered
            await asked  # it comes when the server goes on
        await hang
    assert was_silent
    assert count(three) == 3


async def test_another_password_is_refused(three):
    who, _, where = three.rpartition("@")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"{who}x@{where}")
