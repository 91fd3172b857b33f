"""The chart's containers, run as processes: their commands, their environment, their probes.

As the cluster would: probes that come to the pod's address, Secrets in the environment or in a
folder; where root runs these tests, on a root file system that is read-only but for /data and /tmp,
and as user 10001 if that user can reach our Python. On a real RabbitMQ, Redis, PostgreSQL and S3
server.
"""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import boto3
import httpx
import psycopg
import pytest
from botocore.config import Config

from teststrip.serve.web.keys import KeyRing
from teststrip.testing.service_process import until

pytestmark = pytest.mark.service
USER = 10001
POD = "10.8.1.17"  # its address, as probes name it


def told(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: run these tests by `scripts/services.sh run`", False)
    return value


# Of a namespace of its own: /tmp is the pod's, all else is read-only but its /data.
READ_ONLY = """
mount --bind "$1" "$1" && mount --bind "$2" /tmp && mount -o remount,bind,ro / || exit 125
shift 2
! touch /var/tmp/teststrip-is-not-read-only 2>/dev/null || exit 126
exec "$@"
"""


@cache
def confinement() -> tuple[bool, list[str]]:
    """Can a command have a read-only root; and what makes it user 10001's, where that works."""
    if os.getuid() != 0:
        return False, []
    # The pod's /tmp would hide a repository that lies in /tmp.
    is_hidden = Path(sys.prefix).is_relative_to("/tmp")
    alone = subprocess.run(["unshare", "-m", "mount", "--bind", "/", "/"], check=False)
    who = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
    as_user = ["setpriv", *who, "--"]
    asked = [*as_user, sys.executable, "-c", "import sys; print(sys.version)"]
    version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return (
        alone.returncode == 0 and not is_hidden,
        as_user if version.strip() == sys.version else [],
    )


class Pod:
    """The one container of a pod of the chart, on this machine."""

    def __init__(self, spec: dict, folder: Path, given: dict[str, str]) -> None:
        (container,) = spec["containers"]
        self.name, self.spec = container["name"], spec
        self._container, self._folder = container, folder / container["name"]
        for place in ("data", "tmp"):
            (self._folder / place).mkdir(parents=True)
        ports = [port["containerPort"] for port in container.get("ports", [])]
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._env = {
            "PATH": os.environ["PATH"],
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }
        for var in container["env"]:
            value = var["value"] if "value" in var else given[var["name"]]
            if value.startswith("/data"):
                value = str(self._folder / value[1:])
            self._env[var["name"]] = given.get(f"instead of {value}", value)
        (inside,) = ports or [0]  # the port that others listen at too
        if self._env.get("TESTSTRIP_SERVICE_METRICS_PORT") == str(inside):
            self._env["TESTSTRIP_SERVICE_METRICS_PORT"] = str(self.port)
        self.args = [
            re.sub(rf"^(--port=)?{inside}$", rf"\g<1>{self.port}", part)
            for part in container["args"]
        ]
        read_only, self._before = confinement()
        data, tmp = self._folder / "data", self._folder / "tmp"
        for path in (self._folder, data, tmp):
            os.chown(path, USER if self._before else -1, -1)
        if read_only:
            alone = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(data), str(tmp)]
            self._before = [*alone, *self._before]
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        program = str(Path(sys.executable).parent / self._container["command"][0])
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._before, program, *self.args],
                cwd=self._folder / "data",
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def wait(self) -> int:
        return self._process.wait()

    def probe(self, kind: str) -> httpx.Response | None:
        """As the kubelet asks; None while nobody listens. It does not log in."""
        asked = self._container[kind]["httpGet"]
        headers = {h["name"]: h["value"] for h in asked.get("httpHeaders", [])}
        if self._process.poll() is not None:
            raise AssertionError(f"{self.name} ended\n{self.log.read_text()[-4000:]}")
        try:
            return httpx.get(
                f"http://127.0.0.1:{self.port}{asked['path']}",
                headers={"Host": f"{POD}:{self.port}"} | headers,
                trust_env=False,
                timeout=60,
            )
        except httpx.TransportError:
            return None

    def until_ready(self) -> None:
        def is_ready():
            answer = self.probe("readinessProbe")
            return answer is not None and 200 <= answer.status_code < 400

        until(is_ready, self.log.read_text)
        for kind in ("startupProbe", "livenessProbe"):
            if kind in self._container:
                assert self.probe(kind).status_code == 200

    def stop(self) -> int:
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait()

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> Path:
        return self._folder / "log"


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not below pytest's own, which is for one user alone, nor /tmp, which each pod has its own."""
    made = Path(tempfile.mkdtemp(prefix="teststrip-pods-", dir="/var/tmp"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def databases() -> Iterator[tuple[str, str]]:
    url = told("TESTSTRIP_TEST_POSTGRES")
    mine = [f"pods_{secrets.token_hex(4)}" for _ in range(2)]
    with psycopg.connect(url, autocommit=True) as connection:
        for name in mine:
            connection.execute(f'CREATE DATABASE "{name}"')
        yield tuple(f"{url.rpartition('/')[0]}/{name}" for name in mine)
        for name in mine:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def bucket() -> str:
    name = f"pods-{secrets.token_hex(4)}"
    boto3.client(
        "s3",
        endpoint_url=told("TESTSTRIP_TEST_S3"),
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    ).create_bucket(Bucket=name)
    return name


@pytest.fixture
def pods(rendered, folder, databases, bucket) -> Iterator[dict[str, Pod]]:
    endpoint = told("TESTSTRIP_TEST_S3")
    (folder / "keys").mkdir()
    keys = folder / "keys" / "keys.json"
    _, key = KeyRing(keys).add("shop")
    keys.chmod(0o644)
    values = {
        "service": {
            "store": f"s3://{bucket}/pictures",
            "s3Endpoint": endpoint,
            "s3PublicEndpoint": endpoint,
            "settings": {
                "NAMESPACE": bucket,
                "ENGINE": "teststrip.testing.instant:InstantStepper",
            },
        },
        "track": {"enabled": True, "artifacts": f"s3://{bucket}/runs", "s3Endpoint": endpoint},
    }
    manifests = rendered(values, file="values-laptop.yaml")
    by_queue = {"kind": "job", "idleSeconds": 1}
    (job,) = [
        part["spec"]["jobTargetRef"]["template"]["spec"]
        for part in rendered(values | {"worker": {"scaling": by_queue}}, file="values-laptop.yaml")
        if part["kind"] == "ScaledJob"
    ]
    job["containers"][0]["name"] = "worker-job"
    given = {
        "TESTSTRIP_SERVICE_BROKER": told("TESTSTRIP_TEST_BROKER"),
        "TESTSTRIP_SERVICE_REDIS": told("TESTSTRIP_TEST_REDIS"),
        "TESTSTRIP_SERVICE_SECRET": secrets.token_hex(16),
        "AWS_ACCESS_KEY_ID": told("AWS_ACCESS_KEY_ID"),
        "AWS_SECRET_ACCESS_KEY": told("AWS_SECRET_ACCESS_KEY"),
        "TESTSTRIP_TRACK_BACKEND": databases[0],
        "TESTSTRIP_TRACK_LOGIN_BACKEND": databases[1],
        "TESTSTRIP_TRACK_ADMIN_PASSWORD": secrets.token_hex(12),
        "TESTSTRIP_TRACK_SECRET_KEY": secrets.token_hex(16),
        "TESTSTRIP_STUDIO_PASSWORD": secrets.token_hex(12),
        "MLFLOW_TRACKING_USERNAME": "admin",
        "instead of /etc/teststrip/keys.json": str(keys),
    }
    given["MLFLOW_TRACKING_PASSWORD"] = given["TESTSTRIP_TRACK_ADMIN_PASSWORD"]
    made = {}
    with ExitStack() as running:
        kinds = ("Deployment", "Job")
        specs = [p["spec"]["template"]["spec"] for p in manifests if p["kind"] in kinds]
        for spec in (*specs, job):
            pod = Pod(spec, folder, given)
            running.callback(pod.kill)
            made[pod.name] = pod
        made["web"].key, made["track"].password = key, given["MLFLOW_TRACKING_PASSWORD"]
        yield made


def test_the_pods_of_the_chart_start_answer_their_probes_work_and_end(pods):
    assert pods.keys() == {"migrate", "track", "web", "worker", "studio", "worker-job"}
    for early in ("migrate", "web", "worker", "studio", "worker-job"):
        pods[early].start()
    for short in ("migrate", "worker-job"):  # the queue is empty, so that one ends too
        assert pods[short].wait() == 0, pods[short].log.read_text()[-4000:]
    pods["track"].start()
    for name in ("track", "web", "worker", "studio"):
        pods[name].until_ready()

    web, track = pods["web"], pods["track"]
    asked = {
        "base_url": f"http://127.0.0.1:{web.port}",
        "headers": {"Host": "pictures.example.org", "Authorization": f"Bearer {web.key}"},
    }
    with httpx.Client(**asked, trust_env=False, timeout=60) as client:
        told_of = client.post("/api/jobs", json={"prompt": "a red apple", "n": 2}).json()
        job = until(
            lambda: (
                found if (found := client.get(told_of["url"]).json())["state"] == "done" else None
            ),
            pods["worker"].log.read_text,
        )
        assert len(job["images"]) == 2
        assert (
            httpx.post(f"http://127.0.0.1:{web.port}/api/jobs", json={"prompt": "x"}).status_code
            == 401
        )

    search = f"http://127.0.0.1:{track.port}/api/2.0/mlflow/experiments/search?max_results=1"
    for host, login, status in (
        ("teststrip-track:5000", ("admin", track.password), 200),  # as the chart's pods call it
        ("teststrip-track.pictures.svc:5000", ("admin", track.password), 200),
        ("teststrip-track:5000", None, 401),
        (f"{POD}:5000", ("admin", track.password), 403),
    ):
        answer = httpx.get(search, headers={"Host": host}, auth=login, trust_env=False, timeout=60)
        assert answer.status_code == status, host

    for name in ("web", "worker", "studio", "track"):
        assert pods[name].stop() == 0, f"{name}\n{pods[name].log.read_text()[-4000:]}"
