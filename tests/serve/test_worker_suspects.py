"""Jobs that may have ended their worker are made alone, and not for ever."""

import asyncio
import signal
import subprocess
import sys

import pytest

from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.worker.job import is_suspect
from teststrip.testing.instant import InstantStepper
from teststrip.testing.one_worker import one_worker, parts_in

pytestmark = pytest.mark.anyio


async def test_a_suspect_job_is_made_alone(tmp_path):
    together = []

    class Watched(InstantStepper):
        def step(self, on_progress=None):
            out = super().step(on_progress)
            together.append({f.request.block.prompt for f in self._flights.values()})
            return out

    def stepper(model):
        return Watched(model, step_s=0.005)

    parts = parts_in(tmp_path)
    async with one_worker(tmp_path, stepper, parts) as one:
        before = await one.send("before", recipe={"steps": 40})
        await one.when(before, "running")
        suspect = one.job(prompt="suspect", recipe={"steps": 10}, seeds=(1, 2), attempt=1)
        await parts.state.create(suspect)
        await parts.queue.publish(suspect)
        after = await one.send("after")

        for record in (before, suspect, after):
            assert (await one.ended(record)).state == "done"
        with_it = [prompts for prompts in together if "suspect" in prompts]
        assert with_it
        assert all(prompts == {"suspect"} for prompts in with_it)


async def test_a_job_that_was_given_back_is_above_suspicion_once_and_not_for_ever(tmp_path):
    def stepper(model):
        return InstantStepper(model, step_s=0.01)

    parts = parts_in(tmp_path)
    async with one_worker(tmp_path, stepper, parts) as one:
        beside = await one.send("beside", recipe={"steps": 100})
        await one.when(beside, "running")
        reason = "given back: its worker was asked to end"
        record = await one.send("mug", recipe={"steps": 10}, attempt=1, reason=reason)

        running = await one.when(record, "running")
        while running.reason:
            running = await parts.state.get(record.key)

        assert running.state == "running", "it did not wait for the other one"
        assert not is_suspect(running.model_copy(update={"reason": reason}), redelivered=True)
        assert is_suspect(running, redelivered=False), "whoever takes it after us is warned"
        assert not (await parts.state.get(beside.key)).is_ended
        for each in (record, beside):
            assert (await one.ended(each)).state == "done"


POISONED = """
import asyncio, sys
from pathlib import Path
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.worker.job import is_suspect
from teststrip.testing.instant import InstantStepper
from teststrip.testing.one_worker import one_worker, parts_in

async def main():
    home = Path(sys.argv[1])
    parts = parts_in(home, lease_s=1, max_attempts=3)
    async with one_worker(home, lambda model: InstantStepper(model, step_s=0.05), parts) as one:
        page, _ = await parts.state.page(None)
        for record in reversed([r for r in page if not r.is_ended]):  # as `up` does at its start
            await parts.queue.publish(record)
        for record in page:
            await one.ended(record)

asyncio.run(main())
"""


async def test_a_job_that_kills_its_workers_ends_failed_and_harms_no_neighbour(tmp_path):
    parts = parts_in(tmp_path)
    await parts.open()
    try:
        records = []
        for prompt in ("one", "POISON", "two", "three"):
            name = parts.ids.new()
            records.append(
                JobRecord(
                    id=name.name,
                    key=name.key,
                    owner="ann",
                    prompt=prompt,
                    recipe={"steps": 4},
                    seeds=(1,),
                )
            )
            await parts.state.create(records[-1])

        codes = []
        while not codes or codes[-1] == -signal.SIGKILL:
            ran = await asyncio.to_thread(
                subprocess.run, [sys.executable, "-c", POISONED, str(tmp_path)], check=False
            )
            codes.append(ran.returncode)

        assert codes == [-9, -9, -9, 0]
        found = {r.prompt: await parts.state.get(r.key) for r in records}
        assert found["POISON"].state == "failed"
        assert found["POISON"].reason == "the worker died 3 times while making it"
        assert {found[name].state for name in ("one", "two", "three")} == {"done"}
    finally:
        await parts.close()
