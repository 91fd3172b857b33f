"""The OpenAPI document against the whole service: hundreds of odd requests, none is its undoing."""

import asyncio
import contextlib
import threading
import time

import httpx
import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.parts import Parts
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.web.app import create_app
from teststrip.serve.worker.worker import Worker
from teststrip.testing.instant import InstantStepper

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
FEW, MANY = 3, pytest.param(40, marks=pytest.mark.slow)


def odd(examples):
    """So many requests for each operation, the same on every machine."""
    return settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


@contextlib.contextmanager
def serving(home):
    """Web and worker in a thread, on a free port; the address."""
    config = ServiceConfig(max_queued=100_000, max_queued_per_key=100_000, drain_s=0)
    parts = Parts(
        home=home,
        config=config,
        ids=JobIds(config.the_secret(home)),
        state=SqliteState(home / "state.db"),
        store=FolderStore(home / "images"),
        queue=MemoryQueue(None, max_length=100_000),
    )
    server = uvicorn.Server(
        uvicorn.Config(create_app(parts), port=0, log_level="warning", lifespan="off")
    )

    async def serve():
        await parts.open()
        stop = asyncio.Event()
        working = asyncio.create_task(Worker(parts, InstantStepper, "worker-1").run(stop))
        await server.serve()
        stop.set()
        await working
        await parts.close()

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    while not server.started and thread.is_alive():
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("service")) as address:
        yield address


@pytest.fixture(scope="module")
def operations(url):
    schema = schemathesis.openapi.from_url(f"{url}/api/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


def done_job(url):
    """The name of a job that is done."""
    job = httpx.post(f"{url}/api/jobs", json={"prompt": "a cat"}).json()
    while job["state"] in ("queued", "running"):
        job = httpx.get(url + job["url"]).json()
        time.sleep(0.02)
    assert job["state"] == "done", job
    return job["id"]


@pytest.mark.parametrize("examples", [FEW, MANY])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_is_the_services_undoing(operations, mode, examples):
    for operation in operations:

        @odd(examples)
        @given(case=operation.as_strategy(generation_mode=mode))
        def asked(case):
            case.call_and_validate(checks=CHECKS)

        with contextlib.suppress(Unsatisfiable):  # where nothing can be wrong
            asked()
    assert len(operations) >= 12


@pytest.mark.parametrize("examples", [FEW, MANY])
def test_no_question_about_a_job_is_either(operations, url, examples):
    job = done_job(url)
    about = [o for o in operations if "{job_id}" in o.path]
    for operation in about:
        path = {"job_id": job} | ({"index": 0} if "{index}" in operation.path else {})

        @odd(examples)
        @given(case=operation.as_strategy(path_parameters=path))
        def asked(case):
            case.call_and_validate(checks=CHECKS)

        asked()
    assert len(about) >= 5


def test_the_document_tells_of_every_route_and_every_fault(url):
    document = httpx.get(f"{url}/api/openapi.json").json()
    operations = [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]

    assert {"/api/jobs", "/api/batches", "/api/jobs/{job_id}", "/readyz"} <= set(document["paths"])
    for path, method, operation in operations:
        assert operation.get("description") or operation.get("summary"), (path, method)
        for status, answer in operation["responses"].items():
            if path.startswith("/api") and status >= "400":
                assert set(answer["content"]) == {"application/problem+json"}, (path, status)
    problem = document["components"]["schemas"]["ProblemBody"]["properties"]
    assert {"type", "title", "status", "detail", "faults"} == set(problem)
    assert "HTTPValidationError" not in document["components"]["schemas"]
