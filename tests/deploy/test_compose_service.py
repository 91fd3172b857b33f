"""The records' part of compose.yaml on a real PostgreSQL and S3 server, without Docker.

Databases made, made again, and for one role alone; then the one-shots and the tracking server, each
in its image's packages with the environment that compose.yaml gives it. Run by
`scripts/services.sh run`.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import httpx
import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from teststrip.testing.image_process import ImageProcess

pytestmark = pytest.mark.service
DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPT = DEPLOY / "compose" / "databases.sh"
ADMIN, SERVICE = "the admin's password", "the service's password"


@pytest.fixture
def superuser():
    """Of a server that has neither the databases nor the role, before and afterwards."""
    told = os.environ.get("TESTSTRIP_TEST_POSTGRES")
    if not told:
        pytest.fail("run these tests by `scripts/services.sh run`", pytrace=False)
    yield told
    with psycopg.connect(told, autocommit=True) as connection:
        for name in ("mlflow", "mlflow_login"):
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        for role in ("mlflow", "stranger"):
            connection.execute(f"DROP ROLE IF EXISTS {role}")


def run(superuser: str, password: str) -> None:
    place = conninfo_to_dict(superuser)
    psql = shutil.which("psql") or str(max(Path("/usr/lib/postgresql").glob("*/bin/psql")))
    env = {
        "PATH": f"{Path(psql).parent}:{os.environ['PATH']}",
        "PGHOST": place["host"],
        "PGPORT": str(place["port"]),
        "PGUSER": place["user"],
        "PGPASSWORD": place.get("password") or "",
        "MLFLOW_DB_PASSWORD": password,
    }
    done = subprocess.run(["sh", SCRIPT], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert password not in done.stdout + done.stderr


def test_databases_are_made_once_for_one_role_whose_password_may_change(superuser):
    run(superuser, "first' password")
    place = conninfo_to_dict(superuser) | {"user": "mlflow", "dbname": "mlflow"}
    with psycopg.connect(**place | {"password": "first' password"}) as connection:
        connection.execute("CREATE TABLE kept (id int)")

    run(superuser, "second-password")

    with psycopg.connect(**place | {"password": "second-password"}) as connection:
        connection.execute("SELECT FROM kept")
    with psycopg.connect(
        **place | {"password": "second-password", "dbname": "mlflow_login"}
    ) as connection:
        row = connection.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = 'mlflow'"
        ).fetchone()
        assert row == (False,)
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    for name in ("mlflow", "mlflow_login"):
        other = place | {"user": "stranger", "password": "stranger", "dbname": name}
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(**other)


def environment_of(name: str, secrets: dict[str, str]) -> dict[str, str]:
    """What compose.yaml gives a service; a variable without a value here has its default."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())

    def value(found: re.Match[str]) -> str:
        default = found[2][2:] if found[2].startswith(":-") else ""
        return secrets.get(found[1], default)

    def filled(text: str) -> str:
        text = text.replace("${PORT:+:${PORT}}", "")
        return re.sub(r"\$\{(\w+)([^}]*)\}", value, text)

    return {k: filled(str(v)) for k, v in compose["services"][name]["environment"].items()}


def test_one_shots_and_server_come_up_one_after_the_other(superuser):
    run(superuser, "q8-of-the-role")
    place, store = conninfo_to_dict(superuser), os.environ["TESTSTRIP_TEST_S3"]
    own = {
        "DOMAIN": "example.org",
        "MLFLOW_DB_PASSWORD": "q8-of-the-role",
        "TESTSTRIP_TRACK_ADMIN_PASSWORD": ADMIN,
        "TESTSTRIP_TRACK_SECRET_KEY": "signs the forms of the tests",
        "TRACK_SERVICE_PASSWORD": SERVICE,
    }
    keys = {k: os.environ[k] for k in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}

    def here(name: str) -> dict[str, str]:
        there = {"@postgres/": f"@{place['host']}:{place['port']}/", "http://s3:8333": store}
        made = environment_of(name, own)
        for inside, outside in there.items():
            made = {k: v.replace(inside, outside) for k, v in made.items()}
        return made | {k: v for k, v in keys.items() if k in made}

    assert here("migrate") == here("track")
    track = ImageProcess("track", here("track"))
    assert track.run("teststrip", "track", "serve", "--port", "0").returncode == 1, "not migrated"
    for _ in range(2):
        buckets = ["python", str(DEPLOY / "compose" / "buckets.py")]
        for command in (
            ["teststrip", "track", "migrate"],
            ["env", *_pairs(here("buckets")), *buckets],
        ):
            done = track.run(*command)
            assert done.returncode == 0, done.stderr
    with track:
        address = f"http://127.0.0.1:{track.port}"
        accounts = here("accounts") | {"MLFLOW_TRACKING_URI": address}
        accounts |= {"KEYS": str(track.home), "PATH": track.env["PATH"]}
        script = ["sh", str(DEPLOY / "compose" / "accounts.sh")]
        made = track.run("env", *_pairs(accounts), *script)
        assert made.returncode == 0, made.stderr
        login = ("service", SERVICE)
        with httpx.Client(base_url=address, auth=login, trust_env=False, timeout=60) as client:
            find = "/api/2.0/mlflow/experiments/search?max_results=1"
            for host, status in (
                ("track:5000", 200),
                ("track.example.org", 200),
                ("evil.example.org", 403),
            ):
                assert client.get(find, headers={"Host": host}).status_code == status, host
        assert track.stop() == 0, track.log()


def _pairs(variables: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in variables.items()]
