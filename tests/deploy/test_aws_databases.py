"""databases.py, a task on AWS, on a real PostgreSQL: by a master no stronger than that of RDS."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

pytestmark = pytest.mark.service


class Server:
    """One role and two databases on the shared server, under names of their own."""

    def __init__(self, superuser: str, script: Path) -> None:
        self.superuser, self.script = superuser, script
        mark = secrets.token_hex(4)
        self.name, self.role, self.master = f"t{mark}", f"r{mark}", f"m{mark}"
        self.sql(f"CREATE ROLE {self.master} LOGIN CREATEDB CREATEROLE PASSWORD 'master'")

    def sql(self, *statements: str) -> None:
        with psycopg.connect(self.superuser, autocommit=True) as db:
            for statement in statements:
                db.execute(statement)

    def address(self, password: str, database: str = "") -> str:
        parts = urlsplit(self.superuser)
        where = f"{parts.hostname}:{parts.port}/{database or self.name}"
        return f"postgresql://{self.role}:{password}@{where}?sslmode=prefer"

    def prepare(self, password: str) -> str:
        env = {"SERVER_ADDRESS": self.address(password), "MASTER": self.master}
        done = subprocess.run(
            [sys.executable, "-c", self.script.read_text()],  # as the task does
            env=os.environ | env | {"MASTER_PASSWORD": "master"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def server() -> Iterator[Server]:
    superuser = os.environ.get("TESTSTRIP_TEST_POSTGRES")
    if not superuser:
        pytest.fail("TESTSTRIP_TEST_POSTGRES is not set: scripts/services.sh run", pytrace=False)
    made = Server(superuser, Path(__file__).parents[2] / "deploy" / "aws" / "databases.py")
    yield made
    made.sql(
        f"DROP DATABASE IF EXISTS {made.name}",
        f"DROP DATABASE IF EXISTS {made.name}_login",
        f"DROP ROLE IF EXISTS {made.role}",
        f"DROP ROLE {made.master}",
    )


def test_both_databases_are_the_servers_role_s_and_a_second_time_changes_nothing(server):
    said = server.prepare("first-password")
    assert "first-password" not in said
    server.prepare("first-password")
    for database in (server.name, f"{server.name}_login"):
        with psycopg.connect(server.address("first-password", database)) as db:
            db.execute("CREATE TABLE anything (id int)")
            owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s"
            assert db.execute(owner, [database]).fetchone() == (server.role,)
            able = "SELECT rolsuper, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = %s"
            assert db.execute(able, [server.role]).fetchone() == (False, False, False)


def test_a_new_password_takes_the_place_of_the_old_one(server):
    server.prepare("first-password")
    server.prepare("second-password")
    with psycopg.connect(server.address("second-password")) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.address("first-password"))


def test_other_users_of_the_server_do_not_get_in(server):
    server.prepare("a-password")
    stranger = f"x{secrets.token_hex(4)}"
    server.sql(f"CREATE ROLE {stranger} LOGIN PASSWORD 'stranger'")
    address = server.address("").replace(f"{server.role}:", f"{stranger}:stranger")
    try:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(address)
    finally:
        server.sql(f"DROP ROLE {stranger}")
