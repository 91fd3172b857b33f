"""What may go wrong around a worker: cancels, ends, lost claims; and what it tells."""

import asyncio
import time

import pytest

from teststrip.serve.jobs.job import JobRecord
from teststrip.testing.instant import InstantStepper
from teststrip.testing.one_worker import one_worker, parts_in, picture_of

pytestmark = pytest.mark.anyio


def slow(model):
    return InstantStepper(model, step_s=0.02)


async def until(true):
    while not true():
        await asyncio.sleep(0.002)


async def test_a_running_job_is_cancelled_and_its_finished_pictures_stay(tmp_path):
    def stepper(model):
        return InstantStepper(model, step_s=0.02, slots=1)

    async with one_worker(tmp_path, stepper) as one:
        record = await one.send(n=50)
        while not (await one.parts.state.get(record.key)).images:
            await asyncio.sleep(0.01)

        asked = await one.parts.state.ask_cancel(record.key)
        found = await one.ended(record)

        assert asked.state == "running"
        assert found.state == "cancelled"
        assert 1 <= len(found.images) < 50
        for image in found.images:
            assert await one.parts.store.get(image.key) == picture_of(record, image.index)
        after = await one.send("another")
        assert (await one.ended(after)).state == "done"
        manifest = await one.parts.store.get(record.manifest_key)
        assert JobRecord.model_validate_json(manifest).state == "cancelled"


async def test_a_job_cancelled_while_it_waits_is_acknowledged_and_never_made(tmp_path):
    made = []

    class Watched(InstantStepper):
        def add_request(self, request):
            made.append(request.block.prompt)
            return super().add_request(request)

    parts = parts_in(tmp_path)
    async with one_worker(tmp_path, Watched, parts) as one:
        record = one.job(prompt="gone", seeds=(1,))
        await parts.state.create(record)
        assert (await parts.state.ask_cancel(record.key)).state == "cancelled"
        await parts.queue.publish(record)
        other = await one.send("kept")

        assert (await one.ended(other)).state == "done"
        await until(lambda: not parts.queue._out)
        assert made == ["kept"]
        manifest = await parts.store.get(record.manifest_key)
        assert JobRecord.model_validate_json(manifest).state == "cancelled"


async def test_asked_to_stop_it_finishes_what_flies_and_takes_no_more(tmp_path):
    def stepper(model):
        return InstantStepper(model, step_s=0.02, slots=2)

    async with one_worker(tmp_path, stepper) as one:
        records = [await one.send(f"mug {k}") for k in range(20)]
        await one.when(records[0], "done")

        await one.finish()

        states = [(await one.parts.state.get(record.key)).state for record in records]
        assert set(states) == {"done", "queued"}
        assert sum((await one.parts.queue.depths()).values()) == states.count("queued")


async def test_what_is_not_finished_in_time_goes_to_others_and_is_no_failed_attempt(tmp_path):
    def stepper(model):
        return InstantStepper(model, step_s=0.05)

    async with one_worker(tmp_path, stepper, drain_s=0.1) as one:
        record = await one.send(recipe={"steps": 1000})
        await one.when(record, "running")

        await one.finish()

        found = await one.parts.state.get(record.key)
        assert (found.state, found.attempt) == ("queued", 0)
        assert found.reason.startswith("given back")
        delivery = await one.parts.queue.pull(1)
        assert delivery.record.key == record.key


async def test_a_worker_that_lost_its_claim_drops_the_job_and_writes_nothing_more(tmp_path):
    async with one_worker(tmp_path, slow, lease_s=1) as one:
        record = await one.send(recipe={"steps": 100})
        running = await one.when(record, "running")
        state = one.parts.state
        # the sweeper gives it away, and another worker takes it up
        while not (freed := await state.move_any(record.key, running.version, "queued")):
            running = await state.get(record.key)
        other = await state.claim(freed, "another", 60)

        await until(lambda: not one.worker._jobs)

        found = await state.get(record.key)
        assert (found.worker, found.fence, found.state) == ("another", other.fence, "running")
        assert await one.parts.store.size(record.manifest_key) is None
        assert one.parts.metrics.lost_claims._value.get() == 1


async def test_pictures_of_an_earlier_attempt_are_kept_and_not_made_again(tmp_path):
    made = []

    class Watched(InstantStepper):
        def add_request(self, request):
            made.append(request.block.seed)
            return super().add_request(request)

    parts = parts_in(tmp_path)
    async with one_worker(tmp_path, Watched, parts) as one:
        record = one.job(prompt="a mug", seeds=(7, 8, 9), attempt=1)
        await parts.store.put(record.image_key(1), picture_of(record, 1), "image/png")
        await parts.store.put(record.image_key(2), b"broken", "image/png")
        await parts.state.create(record)
        await parts.queue.publish(record)

        found = await one.ended(record)

        assert found.state == "done"
        assert sorted(made) == [7, 9]
        for index in range(3):
            assert await parts.store.get(record.image_key(index)) == picture_of(record, index)


async def test_the_event_loop_goes_on_while_the_engine_computes(tmp_path):
    class Hard(InstantStepper):
        def step(self, on_progress=None):
            end = time.perf_counter() + 0.3
            while time.perf_counter() < end:
                sum(range(1000))  # holds the interpreter as Python code does
            return super().step(on_progress)

    async with one_worker(tmp_path, Hard) as one:
        record = await one.send()
        longest, last = 0.0, time.perf_counter()
        while not (await one.parts.state.get(record.key)).is_ended:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

        assert longest < 0.3, "one step never held the loop as long as it took"


async def test_previews_and_progress_are_told_while_it_runs(tmp_path):
    async with one_worker(tmp_path, slow, preview_every_s=0.05) as one:
        record = await one.send(recipe={"steps": 100}, priority="people")
        hidden = await one.send(recipe={"steps": 100}, priority="sweep")
        seen = []
        while not (found := await one.parts.state.get(record.key)).is_ended:
            seen.append(found.calls_done)
            preview = await one.parts.state.preview(record.key, 0)
            if preview is not None and seen[-1] > 0:
                break
            await asyncio.sleep(0.01)

        assert preview[:4] == b"RIFF"
        assert 0 < seen[-1] < 100
        await one.ended(hidden)
        assert await one.parts.state.preview(hidden.key, 0) is None


async def test_it_tells_a_card_of_itself(tmp_path):
    async with one_worker(tmp_path, slow) as one:
        record = await one.send(recipe={"steps": 150}, n=2)
        await one.when(record, "running")
        await until(lambda: one.worker._board.calls_per_s > 0)
        card = one.worker.card()
        (told,) = await one.parts.state.workers()

        assert told.name == card.name == "w1"
        assert card.models["builtin"]["fingerprint"] == InstantStepper().fingerprint
        assert card.models["builtin"]["width"] == 64
        assert (card.slots, card.images) == (16, 2)
        assert 0 < card.calls_left <= 300
        assert 20 < card.calls_per_s < 110
        await one.parts.state.ask_cancel(record.key)


async def test_models_are_changed_when_nobody_needs_the_old_one(tmp_path):
    opened, closed = [], []

    class Told(InstantStepper):
        def __init__(self, model):
            super().__init__(model, step_s=0.005)
            opened.append(model)

        def close(self):
            super().close()
            closed.append(self.default_recipe.model)

    async with one_worker(tmp_path, Told) as one:
        names = ["builtin", "other", "builtin", "other", "third"]
        records = [await one.send(model, recipe={"model": model, "steps": 4}) for model in names]

        for record in records:
            assert (await one.ended(record)).state == "done"
        assert set(opened) == {"builtin", "other", "third"}
        assert len(opened) <= 4, "pictures of an open model go first"
        assert len(opened) - len(closed) == 1


async def test_a_second_message_of_a_running_job_changes_nothing(tmp_path):
    async with one_worker(tmp_path, slow) as one:
        record = await one.send(recipe={"steps": 30})
        await one.when(record, "running")
        await one.parts.queue.publish(record)

        found = await one.ended(record)

        assert (found.state, found.attempt) == ("done", 1)
