"""What only RedisState can go wrong with: a server that dies, forgets, hangs or is full."""

import asyncio
import os
import secrets
import signal
import socket
import subprocess
import time

import pytest
from pydantic import SecretStr

from teststrip.errors import ConfigError, StorageError
from teststrip.serve.state.redis import RedisState

pytestmark = [pytest.mark.anyio, pytest.mark.service]
PASSWORD = secrets.token_hex(8)


class Server:
    """A Redis of one test's own, to be killed."""

    def __init__(self, folder):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process = None

    def start(self, *options):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", str(self.folder), "--appendonly", "yes", "--appendfsync", "always"]
        command += ["--requirepass", PASSWORD, "--logfile", str(self.folder / "log"), *options]
        self.process = subprocess.Popen(command)

    def kill(self, lose_data=False):
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None
        if lose_data:
            for path in sorted(self.folder.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()

    def state(self, port=None, password=PASSWORD, **options):
        url = f"redis://:{password}@127.0.0.1:{port or self.port}/0"
        return RedisState(SecretStr(url), "t", **options)


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture
async def state(server):
    state = server.state()
    await state.open()
    yield state
    await state.close()


async def test_calls_wait_while_the_server_restarts(state, server, a_job):
    record = a_job()
    await state.create(record)
    server.kill()
    claiming = asyncio.create_task(state.claim(record, "w1", 60))
    telling = [asyncio.create_task(state.put(f"x:{n}", b"1")) for n in range(50)]
    assert not (await asyncio.wait([claiming], timeout=0.2))[0]
    server.start()
    claim = await claiming
    assert (claim.state, claim.attempt) == ("running", 1)
    await asyncio.gather(*telling)
    assert len(await state.things("x:")) == 50


async def test_where_all_data_is_lost_the_worker_goes_on(state, server, a_job):
    record, other = a_job(), a_job()
    await state.create(record)
    claim = await state.claim(record, "w1", 60)
    server.kill(lose_data=True)
    server.start()
    assert await state.get(record.key) is None
    assert await state.beat(record.key, claim.fence, 60, 3) is None
    await state.restore(claim)
    assert await state.claim(record, "w2", 60) is None  # its message came again: it is leased
    assert await state.beat(record.key, claim.fence, 60, 3) is not None
    done = await state.move(record.key, claim.fence, "done")
    assert done.state == "done"
    assert (await state.claim(other, "w2", 60)).state == "running"  # from its message


async def test_while_data_is_lost_again_and_again_every_job_ends(state, server, a_job):
    """Workers claim, beat, restore and end; a server that forgets all is cleared meanwhile."""
    records = [a_job() for _ in range(20)]
    stop, ended = asyncio.Event(), {record.key: 0 for record in records}

    async def worker(name):
        own = server.state()
        await own.open()
        while not stop.is_set():
            for record in records:
                claim = await own.claim(record, name, 60)
                if claim is None:
                    continue
                for calls in range(3):
                    if await own.beat(record.key, claim.fence, 60, calls) is None:
                        again = await own.restore(claim)
                        if again.fence != claim.fence:
                            break
                else:
                    if await own.move(record.key, claim.fence, "done") is not None:
                        ended[record.key] = claim.fence
            await asyncio.sleep(0)
        await own.close()

    workers = [asyncio.create_task(worker(f"w{n}")) for n in range(4)]
    for _ in range(20):
        await asyncio.sleep(0.02)
        await state._link.command("FLUSHALL")
    while not all(ended.values()):
        await asyncio.sleep(0.01)
    stop.set()
    await asyncio.gather(*workers)
    for record in records:
        found = await state.get(record.key)
        assert found is None or found.state == "done"


async def test_leases_are_by_the_servers_clock_whatever_ours_say(state, a_job, monkeypatch):
    record, real = a_job(), time.time
    monkeypatch.setattr(time, "time", lambda: real() - 7200)
    claim = await state.claim(record, "slow clock", 60)
    assert real() < claim.lease_until < real() + 90
    monkeypatch.setattr(time, "time", lambda: real() + 7200)
    assert await state.claim(record, "fast clock", 60) is None
    assert await state.stale() == []
    done = await state.move(record.key, claim.fence, "done")
    assert abs(done.ended - real()) < 60
    assert await state.expired() == []


class Deaf:
    """Passes on what is asked, and at its time cuts the line before the answer comes back."""

    def __init__(self, port):
        self.port = port
        self.cuts = 0
        self.word = b""

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        return self.server.sockets[0].getsockname()[1]

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while asked := await reader.read(65536):
                to_server.write(asked)
                answer = await from_server.read(65536)
                if self.cuts and self.word in asked:
                    self.cuts -= 1
                    break
                writer.write(answer)
                await writer.drain()
        finally:
            to_server.close()
            writer.close()


async def test_an_answer_lost_on_the_way_changes_nothing_twice(state, server, a_job):
    deaf = Deaf(server.port)
    async with deaf as port:
        far = server.state(port)
        await far.open()
        record = a_job()

        async def cut(call):
            deaf.cuts = 1
            deaf.word = record.id.encode()  # only the step that writes carries it
            answer = await call
            assert deaf.cuts == 0
            return answer

        assert (await cut(far.create(record))).is_new
        claim = await cut(far.claim(record, "w1", 60))
        assert (claim.attempt, claim.worker) == (1, "w1")
        beat = await cut(far.beat(record.key, claim.fence, 60, 4))
        assert beat.version == claim.version + 1
        done = await cut(far.move(record.key, claim.fence, "done"))
        assert done == await state.get(record.key)
        await far.close()


async def test_a_server_that_is_away_is_told_in_time_and_without_password(server):
    state = server.state(patience_s=0.2)
    await state.open()
    assert await state.is_ready()
    server.kill()
    with pytest.raises(StorageError, match=f"127.0.0.1:{server.port}.*cannot be reached") as told:
        await state.get("x")
    assert PASSWORD not in str(told.value)
    assert not await state.is_ready()
    server.start()
    while not await state.is_ready():
        await asyncio.sleep(0.01)
    await state.close()


async def test_a_server_that_says_nothing_is_told_in_time(server):
    state = server.state(patience_s=0.2, answer_s=0.5)
    await state.open()
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StorageError, match="cannot be reached"):
            await asyncio.gather(*(state.get(f"{n}") for n in range(100)))
        assert not await state.is_ready()
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    while not await state.is_ready():
        await asyncio.sleep(0.01)
    await state.close()


async def test_calls_that_are_given_up_leave_no_answer_to_others(state):
    for n in range(20):
        await state.put(f"x:{n:02}", b"%02d" % n)

    async def ask(n):
        for _ in range(20):
            assert await state.things(f"x:{n:02}") == {f"x:{n:02}": b"%02d" % n}

    for _ in range(10):
        asking = [asyncio.create_task(ask(n)) for n in range(20)]
        await asyncio.sleep(0.01)
        for task in asking[::2]:
            task.cancel()
        found = await asyncio.gather(*asking, return_exceptions=True)
        assert [
            f for f in found if f is not None and not isinstance(f, asyncio.CancelledError)
        ] == []


async def test_a_wrong_password_is_told_at_once(server):
    with pytest.raises(StorageError, match="user or password") as told:
        await server.state(password="wrong-one").open()
    assert "wrong-one" not in str(told.value)


async def test_a_full_server_refuses_and_keeps_what_it_has(server, a_job):
    state = server.state()
    await state.open()
    record = a_job()
    await state.create(record)
    await state._link.command("CONFIG", "SET", "maxmemory", "1")
    with pytest.raises(StorageError, match="is full"):
        await state.create(a_job())
    assert not await state.is_ready()
    assert await state.get(record.key) == record
    await state._link.command("CONFIG", "SET", "maxmemory", "0")
    assert (await state.create(a_job())).is_new
    await state.close()


async def test_a_server_that_would_forget_jobs_is_warned_of(server, caplog):
    server.kill()
    server.start("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    state = server.state()
    await state.open()
    assert "allkeys-lru" in caplog.text
    await state.close()


async def test_what_is_dropped_leaves_nothing_behind(state, a_job):
    for end in ("done", "cancelled"):
        record = a_job()
        await state.create(record)
        claim = await state.claim(record, "w1", 60)
        await state.ask_cancel(record.key)
        ended = await state.move(record.key, claim.fence, end)
        await state.move_any(record.key, ended.version, "expired", expires=1.0)
    refused = a_job()
    await state.create(refused)
    await state.remove(refused.key)
    await state.put("x", b"1", ttl_s=0)
    await state.expired()
    assert await state._link.command("KEYS", "*") == []


@pytest.mark.parametrize("url", ["http://x", "redis://host:port/0", "nonsense"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="address of Redis"):
        RedisState(SecretStr(url), "t")
