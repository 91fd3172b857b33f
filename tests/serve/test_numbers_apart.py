"""A real web and a real worker on RabbitMQ, Redis and S3 show every number that is watched."""

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from teststrip.testing.service_process import ServiceProcess, until

pytestmark = pytest.mark.service
WATCH = Path(__file__).parents[2] / "deploy" / "monitoring"


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


def values(text: str) -> dict[str, float]:
    """Name of a series -> the sum of what it shows."""
    found: dict[str, float] = {}
    for name, value in re.findall(r"^(teststrip_\w+)(?:\{.*\})? (\S+)$", text, re.MULTILINE):
        found[name] = found.get(name, 0) + float(value)
    return found


@pytest.fixture
def pages(broker_url, redis_url, s3, namespace, tmp_path):
    """/metrics of a web and of a worker that made two pictures."""
    settings = {
        "broker": broker_url,
        "redis": redis_url,
        "store": f"s3://{s3.bucket}/pictures",
        "s3_endpoint": s3.endpoint,
        "namespace": namespace,
        "secret": "a secret that all web processes share",
        "AWS_ACCESS_KEY_ID": s3.access_key,
        "AWS_SECRET_ACCESS_KEY": s3.secret_key,
    }
    port = free_port()
    with ExitStack() as running:
        web = running.enter_context(ServiceProcess(tmp_path, "web", settings=settings))
        settings |= {"metrics_port": port}
        running.enter_context(ServiceProcess(tmp_path, "worker", settings=settings))
        web.until(web.post({"prompt": "a fox", "n": 2}))
        of_worker = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False)
        # its gauges are looked up every few seconds
        until(lambda: values(web.get("/metrics").text).get("teststrip_workers") == 1, web.log_text)
        yield web.get("/metrics").text, of_worker.text


def test_web_and_worker_show_what_is_watched(pages):
    web, worker = pages
    files = [WATCH / "grafana" / "service.json", WATCH / "grafana" / "gpu.json"]
    text = " ".join(file.read_text() for file in [*files, WATCH / "alerts.yaml"])
    watched = {n for n in re.findall(r"\bteststrip_\w+", text) if "_track_" not in n}
    known = set(re.findall(r"^# TYPE (\S+)", web + worker, re.MULTILINE))

    assert watched
    missing = {n for n in watched if n not in known and n.rpartition("_")[0] not in known}
    assert missing == set()
    assert values(web)["teststrip_jobs_accepted_total"] == 1
    assert values(worker)["teststrip_images_total"] == 2
    assert values(worker)["teststrip_steps_total"] > 0
    assert values(web)["teststrip_workers"] == 1
    assert "teststrip_queue_depth" in values(web)
