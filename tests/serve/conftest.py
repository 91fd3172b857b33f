"""What the service's tests share: records to queue, and the real servers where they run.

`scripts/services.sh run COMMAND` starts RabbitMQ, Redis and an S3 server and tells the tests by
TESTSTRIP_TEST_*. Tests that use them are marked `service`. Coroutine tests are marked `anyio`.
"""

import asyncio
import os
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from teststrip.recipe import Recipe
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.jobs.job import JobRecord

IDS = JobIds(b"a secret of the tests alone")


@dataclass(frozen=True)
class S3:
    """A bucket of one test on the S3 server, and the keys to it."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str


@pytest.fixture(scope="session")
def anyio_backend():
    """The service runs on asyncio alone."""
    return "asyncio"


def _told(name):
    value = os.environ.get(name)
    if not value:
        pytest.fail(f"{name} is not set: run these tests by `scripts/services.sh run`", False)
    return value


@pytest.fixture(scope="session")
def broker_url():
    """amqp://... of the RabbitMQ of the tests."""
    return _told("TESTSTRIP_TEST_BROKER")


@pytest.fixture(scope="session")
def redis_url():
    """redis://... of the Redis of the tests."""
    return _told("TESTSTRIP_TEST_REDIS")


@pytest.fixture
def namespace():
    """A name that no other test uses: queues and keys of one test begin with it."""
    return f"t{secrets.token_hex(6)}"


@pytest.fixture
def s3(namespace):
    """A fresh bucket on the S3 server of the tests."""
    from obstore.store import S3Store  # noqa: F401 - fails early where the extra is missing

    where = S3(
        endpoint=_told("TESTSTRIP_TEST_S3"),
        bucket=namespace,
        access_key=_told("AWS_ACCESS_KEY_ID"),
        secret_key=_told("AWS_SECRET_ACCESS_KEY"),
    )
    import boto3
    from botocore.config import Config

    boto3.client(
        "s3",
        endpoint_url=where.endpoint,
        aws_access_key_id=where.access_key,
        aws_secret_access_key=where.secret_key,
        region_name="us-east-1",
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    ).create_bucket(Bucket=where.bucket)
    return where


@pytest.fixture(scope="session")
def a_job():
    """Makes records: a_job(prompt="a cat", owner="ann", priority="people", ...)."""

    def make(**fields):
        owner = fields.setdefault("owner", "local")
        name = IDS.new(owner)
        given = {
            "id": name.name,
            "key": name.key,
            "prompt": "a cat",
            "recipe": Recipe(model="builtin"),
            "seeds": (1,),
        }
        return JobRecord(**given | fields)

    return make


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.service)])
def open_state(request, tmp_path, namespace):
    """Makes handles on one state, of every kind: open_state(result_ttl_s=60), not yet opened."""
    from pydantic import SecretStr

    if request.param == "sqlite":
        from teststrip.serve.state.sqlite import SqliteState

        return lambda **options: SqliteState(tmp_path / "state.db", **options)
    from teststrip.serve.state.redis import RedisState

    url = SecretStr(request.getfixturevalue("redis_url"))
    return lambda **options: RedisState(url, namespace, **options)


@pytest.fixture
async def any_state(open_state):
    """An open state, once of every kind."""
    state = open_state()
    await state.open()
    yield state
    await state.close()


@pytest.fixture(scope="session")
def services():
    """Runs a verb of scripts/services.sh on the servers of the tests: services("restart", ...)."""
    script = Path(__file__).parents[2] / "scripts" / "services.sh"
    _told("TESTSTRIP_SERVICES")

    async def act(*verb):
        process = await asyncio.create_subprocess_exec(
            script, *verb, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()

    return act
