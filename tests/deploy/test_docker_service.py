"""Images of web and worker: their own commands start with what they have, and make a picture.

Run by `scripts/services.sh run`, since they need RabbitMQ, Redis and an S3 server.
"""

import os
import time

import boto3
import httpx
import pytest

from teststrip.testing.image_process import ImageProcess

pytestmark = pytest.mark.service


@pytest.fixture
def settings() -> dict[str, str]:
    """As compose.yaml sets them, but for where the servers are."""
    told = {name: os.environ.get(f"TESTSTRIP_TEST_{name}") for name in ("BROKER", "REDIS", "S3")}
    if not all(told.values()):
        pytest.fail("run these tests by `scripts/services.sh run`", pytrace=False)
    boto3.client("s3", endpoint_url=told["S3"], region_name="us-east-1").create_bucket(
        Bucket="image-test"
    )
    return {
        "TESTSTRIP_SERVICE_BROKER": told["BROKER"],
        "TESTSTRIP_SERVICE_REDIS": told["REDIS"],
        "TESTSTRIP_SERVICE_S3_ENDPOINT": told["S3"],
        "TESTSTRIP_SERVICE_STORE": "s3://image-test",
        "TESTSTRIP_SERVICE_NAMESPACE": "image-test",
        "TESTSTRIP_SERVICE_SECRET": "a secret of the tests",
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    }


def test_web_without_torch_and_worker_make_a_picture_and_end_when_told(settings, tmp_path):
    keys = tmp_path / "keys.json"
    made = _key(keys)
    own = settings | {"TESTSTRIP_SERVICE_KEYS_FILE": str(keys)}
    with ImageProcess("web", own) as web, ImageProcess("worker-cpu", own) as worker:
        assert web.run("python", "-c", "import torch").returncode == 1
        with httpx.Client(
            base_url=f"http://127.0.0.1:{web.port}",
            headers={"Authorization": f"Bearer {made}"},
            timeout=60,
            trust_env=False,
        ) as client:
            asked = client.post(
                "/api/jobs", json={"prompt": "a red apple", "changes": {"steps": 1}}
            )
            assert asked.status_code == 202, asked.text
            place = asked.headers["location"]
            while (job := client.get(place).json())["state"] in ("queued", "running"):
                time.sleep(0.1)
            assert job["state"] == "done", job
            picture = client.get(f"{place}/images/0.png", follow_redirects=True)
            assert picture.status_code == 200
            assert picture.content.startswith(b"\x89PNG"), picture.text
        assert web.stop() == 0, web.log()
        assert worker.stop() == 0, worker.log()


def _key(path) -> str:
    from teststrip.serve.web.keys import KeyRing

    return KeyRing(path).add("test", ("people",))[1]
