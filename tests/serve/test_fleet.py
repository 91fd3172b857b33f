"""The fleet as a generator: a live web and worker of one process, asked over HTTP."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import uvicorn
from pydantic import SecretStr

from teststrip import png
from teststrip.errors import ConfigError, GenerationError
from teststrip.recipe import Block, Lora, Recipe, Request
from teststrip.records import Failure, Generation, Progress
from teststrip.serve.config import ServiceConfig
from teststrip.serve.fleet import ServiceGenerator
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.web.app import create_app
from teststrip.serve.web.keys import KeyRing
from teststrip.serve.worker.worker import Worker
from teststrip.testing.conformance import GeneratorConformance, some_requests
from teststrip.testing.instant import InstantStepper

RECIPE = Recipe(steps=3)


class Service:
    """Web, worker, memory queue, SQLite and a folder, in a thread with a loop of its own."""

    def __init__(self, home, *, with_worker=True, step_s=0.0, keys=None, **settings) -> None:
        self.home, self.with_worker, self.step_s, self.keys = home, with_worker, step_s, keys
        self.config = ServiceConfig(retry_base_s=0.01, **settings)
        self.url = ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> "Service":
        self._thread.start()
        self._ready.wait(60)
        assert self.url, "the service did not start"
        return self

    def __exit__(self, *exc: object) -> None:
        self.server.should_exit = True
        self._thread.join()

    def ask(self, coroutine):
        """Run a coroutine in the service's loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def jobs(self) -> list[JobRecord]:
        """All jobs, oldest first."""
        return self.ask(self.parts.state.page(None, limit=1000))[0][::-1]

    async def _run(self) -> None:
        try:
            await self._serve()
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop, stop = asyncio.get_running_loop(), asyncio.Event()
        self.parts = parts = Parts(
            home=self.home,
            config=self.config,
            ids=JobIds(b"a secret of the tests alone"),
            state=SqliteState(self.home / "state.db"),
            store=FolderStore(self.home / "images"),
            queue=MemoryQueue(),
        )
        await parts.open()
        app = create_app(parts, keys=self.keys)
        self.server = uvicorn.Server(
            uvicorn.Config(
                app, port=0, log_config=None, lifespan="off", timeout_graceful_shutdown=1
            )
        )
        working = []
        if self.with_worker:
            worker = Worker(parts, lambda model: InstantStepper(model, step_s=self.step_s), "w1")
            working.append(asyncio.create_task(worker.run(stop)))
            await worker.ready.wait()
        serving = asyncio.create_task(self.server.serve())
        while not self.server.started:
            await asyncio.sleep(0.005)
        self.url = f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"
        self._ready.set()
        await serving
        stop.set()
        await asyncio.gather(*working)
        await parts.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("service")) as service:
        yield service


def requests(prompt: str, seeds=(1, 2, 3), recipe=RECIPE) -> list[Request]:
    return [Request(recipe=recipe, block=Block(prompt=prompt, seed=seed)) for seed in seeds]


class TestServiceGenerator(GeneratorConformance):
    @pytest.fixture
    def generator(self, service: Service) -> Iterator[ServiceGenerator]:
        with closing(ServiceGenerator(service.url)) as generator:
            yield generator


def test_its_pictures_are_those_of_the_workers_engine(service: Service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        made = list(generator.generate(requests("the same bytes")))

    stepper = InstantStepper()
    for one in made:
        assert isinstance(one, Generation)
        assert one.image_key == stepper.image_key(one.request)
        assert (png.pixels(one.png) == stepper.pixels(one.request)).all()
        assert one.model_calls == 3
        assert one.facts["fingerprint"] == stepper.fingerprint


def test_its_jobs_are_below_those_of_people(service: Service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        list(generator.generate(requests("a sweep", [9])))

    assert service.jobs()[-1].priority == "sweep"


def test_what_was_made_is_not_made_again(service: Service) -> None:
    first, second = ServiceGenerator(service.url), ServiceGenerator(service.url)
    with closing(first), closing(second):
        made = list(first.generate(requests("once")))
        before = len(service.jobs())
        again = list(second.generate(requests("once")))

    assert len(service.jobs()) == before
    assert {g.image_key: g.png for g in made} == {g.image_key: g.png for g in again}


def test_equal_requests_are_one_job_and_each_is_answered(service: Service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        made = list(generator.generate(requests("twins", [5, 5, 5])))

    assert len(made) == 3
    assert sum(job.prompt == "twins" for job in service.jobs()) == 1


def test_a_failure_is_told_and_its_neighbours_are_made(service: Service) -> None:
    wanted = requests("a FAULT", [1]) + requests("fine", [1, 2])

    with closing(ServiceGenerator(service.url)) as generator:
        outcomes = {o.request: o for o in generator.generate(wanted)}

    assert isinstance(outcomes[wanted[0]], Failure)
    assert "NaN" in outcomes[wanted[0]].reason
    assert all(isinstance(outcomes[one], Generation) for one in wanted[1:])


def test_a_job_that_failed_before_is_tried_again_in_another_run(service: Service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        for _ in range(2):
            [outcome] = generator.generate(requests("FAULT again", [1]))
            assert isinstance(outcome, Failure)

    assert sum(job.prompt == "FAULT again" for job in service.jobs()) == 2


def test_a_wish_that_the_service_refuses_is_a_failure_with_its_words(service: Service) -> None:
    wanted = requests("x" * 2001, [1]) + requests("short", [1])

    with closing(ServiceGenerator(service.url)) as generator:
        outcomes = {o.request: o for o in generator.generate(wanted)}

    assert "2001 characters; at most 2000" in outcomes[wanted[0]].reason
    assert isinstance(outcomes[wanted[1]], Generation)


def test_adapters_have_a_fingerprint_of_their_own(service: Service) -> None:
    recipe = Recipe(steps=2, loras=(Lora(path="style.safetensors"),))

    with closing(ServiceGenerator(service.url)) as generator:
        name = generator.fingerprint(recipe)
        [made] = generator.generate(requests("styled", [1], recipe))

    assert name == InstantStepper().fingerprint_of(recipe) != InstantStepper().fingerprint
    assert made.image_key == made.request.image_key(name)


def test_a_closed_iterator_cancels_what_is_under_way(tmp_path) -> None:
    with Service(tmp_path, step_s=0.02, slots=2) as service:
        generator = ServiceGenerator(service.url)
        outcomes = generator.generate(requests("many", range(40), Recipe(steps=4)))
        next(outcomes)
        outcomes.close()
        generator.close()

        while any(not job.is_ended for job in service.jobs()):
            time.sleep(0.02)
        states = [job.state for job in service.jobs()]
        assert states.count("cancelled") >= 20
        assert set(states) == {"done", "cancelled"}


def test_cancelled_jobs_of_a_stopped_run_are_made_in_the_next(tmp_path) -> None:
    with Service(tmp_path, step_s=0.01, slots=2) as service:
        generator = ServiceGenerator(service.url)
        wanted = requests("goes on", range(12))
        outcomes = generator.generate(wanted)
        next(outcomes)
        outcomes.close()
        made = list(generator.generate(wanted))
        generator.close()

    assert len(made) == 12
    assert all(isinstance(one, Generation) for one in made)


def test_progress_is_told_while_it_is_made(tmp_path) -> None:
    seen: list[Progress] = []
    with Service(tmp_path, step_s=0.05) as service:
        generator = ServiceGenerator(service.url)
        list(generator.generate(requests("slow", [1], Recipe(steps=30)), seen.append))
        generator.close()

    assert seen[-1].calls_done == seen[-1].calls_total == 30
    assert any(0 < one.calls_done < 30 for one in seen)


def test_limits_of_its_key_are_waited_for(tmp_path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    _, secret = ring.add("study", ["study"], max_queued=2)
    with Service(tmp_path, step_s=0.01, keys=ring, slots=2) as service:
        generator = ServiceGenerator(service.url, SecretStr(secret))
        made = list(generator.generate(requests("limited", range(5))))
        generator.close()

    assert len(made) == 5
    assert all(isinstance(one, Generation) for one in made)


def test_a_wrong_key_is_one_clear_fault_that_does_not_show_it(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TESTSTRIP_SERVICE_KEY", "not-a-key")
    with Service(tmp_path, with_worker=False, keys=KeyRing(tmp_path / "keys.json")) as service:
        generator = ServiceGenerator(service.url)
        with pytest.raises(ConfigError, match="TESTSTRIP_SERVICE_KEY") as caught:
            generator.fingerprint(RECIPE)
        generator.close()

    assert "not-a-key" not in str(caught.value)


def test_a_service_without_a_worker_or_away_ends_the_study_soon(tmp_path) -> None:
    with Service(tmp_path, with_worker=False) as service:
        generator = ServiceGenerator(service.url, patience_s=0.3)
        with pytest.raises(GenerationError, match="no worker has told"):
            generator.fingerprint(RECIPE)
        with pytest.raises(ConfigError, match="does not serve model 'other'"):
            generator.fingerprint(Recipe(model="other"))
    with pytest.raises(GenerationError, match="cannot be used"):
        generator.fingerprint(RECIPE)
    generator.close()


def test_pictures_of_other_weights_end_the_study(service: Service) -> None:
    with closing(ServiceGenerator(service.url)) as generator:
        generator.fingerprint(RECIPE)
        known = dict.fromkeys(generator._fingerprints, "those-of-last-week")
        generator._fingerprints = known

        with pytest.raises(GenerationError, match="asked for those-of-last-week"):
            list(generator.generate(some_requests(RECIPE, 1)))


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://me:key@host/"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="accepted: http"):
        ServiceGenerator(url)


def test_a_key_in_a_studys_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="TESTSTRIP_SERVICE_KEY"):
        ServiceGenerator("http://127.0.0.1:1", api_key="ts_secret")
