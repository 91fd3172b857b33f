"""The databases of compose.yaml, in a real PostgreSQL: made, made again, and for one role alone.

Run by `scripts/services.sh run`.
"""

import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

pytestmark = pytest.mark.service
SCRIPT = Path(__file__).parents[2] / "deploy" / "compose" / "databases.sh"


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
