"""`service web` and `service worker` as real processes on RabbitMQ, Redis and an S3 server."""

import hashlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from teststrip import png
from teststrip.testing.service_process import ServiceProcess, until

pytestmark = pytest.mark.service
SLOW = """
import functools
from teststrip.testing.instant import InstantStepper
stepper = functools.partial(InstantStepper, step_s=0.05, slots=4)
"""


@pytest.fixture
def settings(broker_url, redis_url, s3, namespace, tmp_path) -> dict[str, object]:
    (tmp_path / "slow_engine.py").write_text(SLOW)
    return {
        "broker": broker_url,
        "redis": redis_url,
        "store": f"s3://{s3.bucket}/pictures",
        "s3_endpoint": s3.endpoint,
        "namespace": namespace,
        "secret": "a secret that all web processes share",
        "engine": "slow_engine:stepper",
        "lease_s": 3,
        "sweep_s": 0.5,
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
    }


@pytest.fixture
def service(settings, tmp_path) -> Iterator["Service"]:
    named = [("web", "web1"), ("web", "web2"), ("worker", "a"), ("worker", "b")]
    made = [ServiceProcess(tmp_path, verb, name=name, settings=settings) for verb, name in named]
    with ExitStack() as running:
        for process in made:
            running.callback(process.close)
        with ThreadPoolExecutor() as side_by_side:
            list(side_by_side.map(ServiceProcess.start, made))
        yield Service(*made)


class Service:
    """Two webs and two workers."""

    def __init__(self, *processes: ServiceProcess) -> None:
        self.one, self.two, self.a, self.b = processes


def test_a_job_of_one_web_is_seen_at_the_other_and_its_picture_read_from_the_store(service):
    told = service.one.post({"prompt": "a red apple", "seeds": [5]})

    job = service.two.until(told)

    assert job["state"] == "done"
    (image,) = job["images"]
    answer = service.two.client.get(f"{service.two.address}{image['url']}")
    assert answer.status_code in (302, 307)
    signed = httpx.get(answer.headers["location"], trust_env=False)
    assert hashlib.sha256(signed.content).hexdigest() == image["sha256"]
    assert png.read(signed.content).request.block.seed == 5


def test_both_workers_take_jobs_and_a_killed_one_loses_none(service):
    told = [service.one.post({"prompt": f"picture {n}", "seeds": [n]}) for n in range(40)]
    webs = itertools.cycle([service.one, service.two])
    service.one.until(told[3])

    service.a.kill()
    service.a.start()

    jobs = [next(webs).until(one) for one in told]
    assert [job["state"] for job in jobs] == ["done"] * 40
    assert all(len(job["images"]) == 1 for job in jobs)
    workers = {
        line["role"] + str(line["pid"])
        for process in (service.a, service.b)
        for line in process.log()
        if line["message"] == "job done"
    }
    assert len(workers) >= 2


def test_a_worker_that_is_told_to_go_finishes_what_flies_and_leaves_the_rest(service):
    told = [service.one.post({"prompt": f"picture {n}", "seeds": [n]}) for n in range(12)]
    service.one.until(told[0], lambda job: job["state"] != "queued")

    assert service.a.kill(signal.SIGTERM) == 0

    assert all(service.one.until(one)["state"] == "done" for one in told)
    drained = [line for line in service.a.log() if line["message"] == "job done"]
    assert all(line.get("attempt", "1") == "1" for line in drained)


def test_a_web_can_be_killed_and_the_other_answers(service):
    told = service.one.post({"prompt": "a red apple", "n": 2})

    service.one.kill()

    assert service.two.until(told)["state"] == "done"
    service.one.start()
    assert service.one.job(told)["state"] == "done"


def test_a_poison_job_ends_failed_and_harms_no_neighbour(service):
    neighbours = [service.one.post({"prompt": f"picture {n}"}) for n in range(6)]
    poison = service.one.post({"prompt": "POISON"})
    more = [service.one.post({"prompt": f"picture {n}"}) for n in range(6, 12)]
    processes = [service.a, service.b]

    def ended() -> object:
        for process in processes:  # what a supervisor does
            if process.has_ended():
                process.start()
        job = service.one.job(poison)
        return job if job["state"] == "failed" else None

    failed = until(ended, lambda: service.a.log_text() + service.b.log_text())

    assert "died" in failed["reason"]
    for process in processes:
        if process.has_ended():
            process.start()
    assert all(service.one.until(job)["state"] == "done" for job in [*neighbours, *more])


def test_the_operator_sees_it_and_queues_a_dead_job_again(service, settings, tmp_path):
    poison = service.one.post({"prompt": "FAULT"})
    service.one.until(poison)
    own = {
        name if name.startswith("AWS") else f"TESTSTRIP_SERVICE_{name.upper()}": str(value)
        for name, value in settings.items()
    }

    def asked(*verb: str) -> dict:
        done = subprocess.run(
            [sys.executable, "-m", "teststrip", "service", *verb, "--json"],
            env={"PATH": os.environ["PATH"], "TESTSTRIP_HOME": str(tmp_path / "home")} | own,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return json.loads(done.stdout)

    told = asked("status")
    assert told["ready"] == {"state": True, "store": True, "queue": True}
    assert len(told["workers"]) == 2
    asked("dead", "requeue", poison["id"][:32])
    service.one.until(poison)
    lines = [*service.a.log(), *service.b.log()]
    assert sum(line["message"] == "job taken up" for line in lines) == 2


def test_numbers_of_a_worker_have_a_port_of_their_own(settings, tmp_path):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with ServiceProcess(tmp_path, "worker", settings=settings | {"metrics_port": port}):
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text

    assert "teststrip_batch_occupancy" in text


def test_without_shared_settings_it_says_what_is_missing(settings, tmp_path: Path):
    without = {k: v for k, v in settings.items() if k not in ("secret", "store")}
    process = ServiceProcess(tmp_path, "web", settings=without)

    with pytest.raises(AssertionError, match="TESTSTRIP_SERVICE_STORE"):
        process.start()
    assert process.wait() == 2
    process.close()
