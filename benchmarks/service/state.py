"""How many changes a second the state bears, and how long it takes to list what waits.

python -m benchmarks.service.state                       SQLite, in a temporary folder
scripts/services.sh run .venv/bin/python -m benchmarks.service.state   and Redis beside it
"""

import argparse
import asyncio
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from pydantic import SecretStr

from teststrip.recipe import Recipe
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.state.redis import RedisState
from teststrip.serve.state.ruled import RuledState
from teststrip.serve.state.sqlite import SqliteState

IDS = JobIds(b"a secret of the benchmark")
Step = Callable[[int], Awaitable[object]]


def a_job(owner: str) -> JobRecord:
    """A job as the page makes them."""
    name = IDS.new(owner)
    return JobRecord(
        id=name.name,
        key=name.key,
        owner=owner,
        prompt="a commercial studio photo of a red kettle, professional contrast lighting",
        recipe=Recipe(),
        seeds=(1, 2),
    )


async def timed(count: int, tasks: int, step: Step) -> tuple[float, float, float]:
    """Calls a second, and seconds of one call at p50 and p99, by `tasks` callers at once."""
    took: list[float] = []
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            before = time.perf_counter()
            await step(number)
            took.append(time.perf_counter() - before)

    before = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(tasks)))
    whole = time.perf_counter() - before
    took.sort()
    return count / whole, statistics.median(took), took[int(len(took) * 0.99)]


async def measure(name: str, state: RuledState, count: int, tasks: int) -> None:
    """One line per call."""
    await state.open()
    jobs = [a_job(f"owner{n % 50}") for n in range(count)]
    claims: dict[int, JobRecord] = {}

    async def claim(n: int) -> None:
        found = await state.claim(jobs[n], "w1", 600)
        assert found is not None
        claims[n] = found

    steps: dict[str, Step] = {
        "create": lambda n: state.create(jobs[n]),
        "get": lambda n: state.get(jobs[n].key),
        "published": lambda n: state.published(jobs[n].key),
        "claim": claim,
        "beat": lambda n: state.beat(jobs[n].key, claims[n].fence, 600, 10),
        "move": lambda n: state.move(jobs[n].key, claims[n].fence, "done"),
    }
    for step, run in steps.items():
        a_second, half, most = await timed(count, tasks, run)
        print(f"{name:7} {tasks:3} {step:10} {a_second:7.0f}/s  p50 {half * 1e3:6.2f} ms  "
              f"p99 {most * 1e3:6.2f} ms")  # fmt: skip
    await state.close()


async def lists(name: str, state: RuledState, count: int) -> None:
    """`waiting`, `counts` and `page` beside many queued jobs."""
    await state.open()
    for start in range(0, count, 100):
        batch = [a_job(f"owner{n % 50}") for n in range(start, start + 100)]
        await asyncio.gather(*(state.create(job) for job in batch))
    for call, step in {
        "waiting": lambda _: state.waiting(),
        "counts": lambda _: state.counts(),
        "page": lambda _: state.page("owner7"),
    }.items():
        _, half, most = await timed(30, 1, step)
        print(f"{name:7} {count} queued: {call:8} p50 {half * 1e3:6.2f} ms  max {most * 1e3:6.2f}")
    assert len(await state.waiting()) == count
    await state.close()


async def main(count: int, queued: int) -> None:
    """All of it."""
    redis = os.environ.get("TESTSTRIP_TEST_REDIS")
    with tempfile.TemporaryDirectory() as folder:
        made: dict[str, Callable[[], RuledState]] = {
            "sqlite": lambda: SqliteState(Path(folder) / f"{secrets.token_hex(4)}.db")
        }
        if redis:
            made["redis"] = lambda: RedisState(SecretStr(redis), f"b{secrets.token_hex(4)}")
        for name, make in made.items():
            for tasks in (1, 16):
                await measure(name, make(), count, tasks)
            await lists(name, make(), queued)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--queued", type=int, default=10_000)
    given = parser.parse_args()
    asyncio.run(main(given.count, given.queued))
