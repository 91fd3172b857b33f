"""`teststrip service up` as a real process: comes up without settings, survives kill -9."""

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from teststrip import png
from teststrip.recipe import Block
from teststrip.testing.service_process import ServiceProcess, until

Up = Callable[..., ServiceProcess]
# an engine of somebody's own, beside which the service is started
SLOW = """
import functools
from teststrip.testing.instant import InstantStepper
stepper = functools.partial(InstantStepper, step_s=0.1, slots=1)
quick = functools.partial(InstantStepper, step_s=0.02, slots=4)
"""


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    begun: list[ServiceProcess] = []

    def start(**settings: object) -> ServiceProcess:
        (tmp_path / "slow_engine.py").write_text(SLOW)
        made = ServiceProcess(tmp_path, "up", settings=settings)
        begun.append(made)
        made.start()
        return made

    yield start
    for made in begun:
        made.close()


def test_it_comes_up_without_settings_makes_pictures_and_ends_cleanly(up, tmp_path):
    service = up()

    job = service.until(service.post({"prompt": "a red apple", "seeds": [5, 6]}))

    assert job["state"] == "done"
    assert [image["seed"] for image in job["images"]] == [5, 6]
    for image in job["images"]:
        data = service.get(image["url"]).content
        assert hashlib.sha256(data).hexdigest() == image["sha256"]
        inside = png.read(data)
        assert inside.request.block.prompt == "a red apple"
        assert inside.request.block.seed == image["seed"]
        assert inside.request.recipe.recipe_id == job["recipe_id"]
    assert service.get("/readyz").json()["status"] == "ok"
    assert b'teststrip_jobs_total{outcome="done"} 1.0' in service.get("/metrics").content
    assert service.kill(signal.SIGTERM) == 0
    key = job["id"][:32]
    assert [line["message"] for line in service.log() if line.get("job") == key] == [
        "job taken up",
        "job done",
    ]
    assert (tmp_path / "home" / "service" / "images" / "jobs" / key / "job.json").is_file()


def test_killed_in_the_middle_it_goes_on_where_it_was(up, tmp_path):
    service = up(engine="slow_engine:stepper")
    told = service.post({"prompt": "a red apple", "seeds": [1, 2, 3]})
    waiting = service.post({"prompt": "waits behind it"})
    seen = service.until(told, lambda job: job["images"])
    first = tmp_path / "home" / "service" / "images" / "jobs" / told["id"][:32] / "0.png"
    written = first.stat().st_mtime_ns

    service.kill()
    service.start()

    job = service.until(told)
    assert job["state"] == "done"
    assert len(job["images"]) == 3
    assert job["images"][0]["sha256"] == seen["images"][0]["sha256"]
    assert first.stat().st_mtime_ns == written
    assert service.until(waiting)["state"] == "done"


def test_a_stop_keeps_what_is_not_finished_for_the_next_start(up):
    service = up(engine="slow_engine:stepper", drain_s=0)
    told = service.post({"prompt": "a red apple", "seeds": [1, 2, 3, 4]})
    service.until(told, lambda job: job["state"] == "running")

    assert service.kill(signal.SIGTERM) == 0
    service.start()

    job = service.until(told)
    assert job["state"] == "done"
    assert len(job["images"]) == 4


def test_a_job_that_ends_the_process_is_failed_in_the_end_and_harms_no_other(up):
    service = up(max_attempts=2)
    wish, once = {"prompt": "POISON"}, {"Idempotency-Key": "one and the same"}
    with contextlib.suppress(httpx.TransportError):  # it may die before it has answered
        service.post(wish, **once)
    assert service.wait() == -signal.SIGKILL

    service.start()
    assert service.wait() == -signal.SIGKILL  # tried once more, alone
    service.start()

    poison = service.post(wish, **once)
    failed = service.until(poison)
    assert failed["state"] == "failed"
    assert "died 2 times" in failed["reason"]
    assert service.until(service.post({"prompt": "a red apple"}))["state"] == "done"


def test_a_second_one_on_the_same_home_is_refused(up, tmp_path):
    up()

    second = ServiceProcess(tmp_path, "up", name="second")
    with pytest.raises(AssertionError, match="being run by another process"):
        second.start()
    assert second.wait() == 1
    second.close()


def test_a_failed_job_is_queued_again_from_outside(up, tmp_path):
    service = up()
    told = service.post({"prompt": "FAULT"})
    assert service.until(told)["state"] == "failed"

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "teststrip",
            "service",
            "dead",
            "requeue",
            told["id"][:32],
            "--json",
        ],
        env={"TESTSTRIP_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout)["state"] == "queued"
    assert service.job(told)["state"] == "queued"
    service.kill()
    service.start()
    service.until(told, lambda job: job["state"] == "failed")
    assert sum(line["message"] == "job taken up" for line in service.log()) == 2


@pytest.mark.slow
def test_the_built_in_model_answers_on_a_cpu(up):
    service = up(engine="local")

    job = service.until(service.post({"prompt": "a red apple", "seeds": [1]}))

    assert job["state"] == "done", job
    inside = png.read(service.get(job["images"][0]["url"]).content)
    assert inside.facts["fingerprint"] == job["images"][0]["facts"]["fingerprint"]


def test_the_web_never_loads_torch():
    code = (
        "import sys; import teststrip.wire.service_run, teststrip.serve.web.app, "
        "teststrip.engine.loading, "
        "teststrip.serve.operate.sweeper, teststrip.serve.queue.rabbit, "
        "teststrip.serve.state.redis, teststrip.serve.store.s3; "
        "heavy = {'torch', 'diffusers', 'transformers', 'pandas', 'mlflow'}; "
        "print(*sorted(heavy & {*sys.modules}))"
    )

    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout

    assert said.strip() == ""


@pytest.mark.slow
def test_a_new_champion_is_served_without_a_restart_and_what_people_say_is_counted(up, tmp_path):
    pytest.importorskip("mlflow")
    from teststrip.recipe import Recipe
    from teststrip.testing.champions import Crowning

    crowning = Crowning(tmp_path / "store")
    crowning.crown("photos", Recipe(steps=3))
    own = {"MLFLOW_TRACKING_URI": crowning.uri}
    service = up(champion="photos", champion_poll_s=0.1, **own)
    first = service.until(service.post({"product": "a red apple"}))
    crowning.crown("photos", Recipe(steps=5))

    def crowned() -> object:
        job = service.post({"product": "a red apple"})
        return job if job["champion"]["version"] == "2" else None

    second = service.until(until(crowned))
    again = service.until(service.post({"product": "a red apple", "recipe": "champion@1"}))

    assert [job["champion"]["version"] for job in (first, second, again)] == ["1", "2", "1"]
    assert [job["recipe"]["steps"] for job in (first, second, again)] == [3, 5, 3]
    inside = png.read(service.get(second["images"][0]["url"]).content)
    assert inside.request.recipe.steps == 5

    thumb = service.client.post(
        f"{service.address}{second['url']}/images/0/feedback", json={"thumb": "up"}
    )
    assert thumb.status_code == 204
    command = [sys.executable, "-m", "teststrip", "service", "ratings", "--json"]

    def rated() -> object:
        said = subprocess.run(
            command, env=dict(os.environ) | own, cwd=tmp_path, capture_output=True, check=True
        ).stdout
        return json.loads(said)["versions"]

    (version,) = until(rated)
    assert (version["model"], version["version"], version["up"]) == ("photos", "2", 1)


def test_a_job_is_one_trace_from_its_request_to_the_store(up):
    pytest.importorskip("opentelemetry.sdk")
    service = up(OTEL_TRACES_EXPORTER="console")
    sent = "0af7651916cd43dd8448eb211c80319c"

    service.until(
        service.post({"prompt": "a red apple"}, traceparent=f"00-{sent}-b7ad6b7169203331-01")
    )
    assert service.kill(signal.SIGTERM) == 0

    spans = {line["name"]: line for line in service.log() if "context" in line}
    assert set(spans) == {"accept", "wait", "make", "store"}
    assert {span["context"]["trace_id"] for span in spans.values()} == {f"0x{sent}"}
    above = {name: span["parent_id"] for name, span in spans.items()}
    assert above.pop("accept") == "0xb7ad6b7169203331"
    assert set(above.values()) == {spans["accept"]["context"]["span_id"]}


@pytest.mark.slow
def test_killed_again_and_again_it_makes_every_job_once(up, tmp_path):
    chance = random.Random(4)
    service = up(engine="slow_engine:quick", max_attempts=20)
    told: dict[int, dict] = {}

    def post(number: int) -> None:
        wish = {"prompt": f"picture {number}", "seeds": [number]}
        while number not in told:
            try:
                told[number] = service.post(wish, **{"Idempotency-Key": f"order {number}"})
            except httpx.TransportError:  # what a client of a service that restarts does
                service.kill()
                service.start()

    for number in range(120):
        post(number)
        if number % 15 == 14:
            time.sleep(chance.uniform(0, 0.3))
            service.kill()

    service.start()
    jobs = [service.until(told[number]) for number in range(120)]
    assert {job["state"] for job in jobs} == {"done"}
    assert len({job["id"] for job in jobs}) == 120
    images = tmp_path / "home" / "service" / "images" / "jobs"
    assert len(list(images.rglob("*.png"))) == 120
    for number, job in enumerate(jobs):
        data = (images / job["id"][:32] / "0.png").read_bytes()
        assert hashlib.sha256(data).hexdigest() == job["images"][0]["sha256"]
        assert png.read(data).request.block == Block(prompt=f"picture {number}", seed=number)


def test_told_to_stop_while_it_waits_for_a_server_it_ends(tmp_path):
    nowhere = {"broker": "amqp://a:b@127.0.0.1:1/", "redis": "redis://127.0.0.1:1/0"}
    own = {"store": str(tmp_path / "images"), "secret": "a" * 20}
    process = ServiceProcess(tmp_path, "web", settings=nowhere | own)

    def start() -> None:
        with pytest.raises(AssertionError, match="did not start"):
            process.start()

    starting = threading.Thread(target=start)
    starting.start()
    until(lambda: "starting" in process.log_text())

    os.kill(process.pid, signal.SIGTERM)

    starting.join()
    assert process.wait() == 0
    process.close()
