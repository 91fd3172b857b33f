"""Several processes work on the same jobs and are killed: every job ends once."""

import asyncio
import os
import signal
import sys

import pytest

pytestmark = pytest.mark.anyio
JOBS, KILLS = 80, 2
WORKER = """
import asyncio, sys
from pathlib import Path
from pydantic import SecretStr

def opened(kind, where, namespace):
    if kind == "sqlite":
        from teststrip.serve.state.sqlite import SqliteState
        return SqliteState(Path(where))
    from teststrip.serve.state.redis import RedisState
    return RedisState(SecretStr(where), namespace)

async def main(name, *where):
    state = opened(*where)
    await state.open()
    jobs = (await state.page(None, limit=1000))[0]
    while jobs:
        for job in list(jobs):
            claim = await state.claim(job, name, 0.5)
            if claim is None:
                if (await state.get(job.key)).is_ended:
                    jobs.remove(job)
                continue
            for calls in range(3):
                await state.beat(job.key, claim.fence, 0.5, calls)
            if await state.move(job.key, claim.fence, "done") is not None:
                print(f"{job.key} {claim.fence}", flush=True)
        await asyncio.sleep(0.01)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_workers_are_killed_and_every_job_ends_once(
    request, open_state, a_job, tmp_path, namespace
):
    state = open_state()
    await state.open()
    records = [a_job() for _ in range(JOBS)]
    for record in records:
        await state.create(record)
    where = ["sqlite", str(tmp_path / "state.db"), namespace]
    if "redis" in request.node.callspec.id:
        where = ["redis", os.environ["TESTSTRIP_TEST_REDIS"], namespace]
    told, deaths, victims = [], [], asyncio.Queue()

    async def worker(name):
        """One process after another under a name, until one ends by itself."""
        while True:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", WORKER, name, *where, stdout=asyncio.subprocess.PIPE
            )
            while line := await process.stdout.readline():
                told.append(line.decode().split())
                victims.put_nowait(process)
            if await process.wait() == 0:
                return
            deaths.append(process.returncode)

    async def killer():
        for _ in range(KILLS):
            process = await victims.get()
            if process.returncode is None:
                os.kill(process.pid, signal.SIGKILL)
            while not victims.empty():
                victims.get_nowait()

    killing = asyncio.create_task(killer())
    await asyncio.gather(*(worker(f"w{n}") for n in range(2)))
    killing.cancel()
    assert deaths
    assert set(deaths) == {-signal.SIGKILL}
    fences = {}
    for key, fence in told:
        assert key not in fences  # nobody's end was told twice
        fences[key] = int(fence)
    for record in records:
        found = await state.get(record.key)
        assert found.state == "done"
        assert fences.get(record.key, found.fence) == found.fence  # killed before it was told
    assert await state.counts() == {"queued": 0, "running": 0}
    await state.close()
