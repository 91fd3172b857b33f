"""A real `teststrip track serve` to measure: what it was asked, what that cost it."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from teststrip.testing.track_process import TrackProcess

_COUNT = re.compile(r'^teststrip_track_requests_total\{method="(\w+)",route="(\w+)",.*\} (\S+)$')
SQLITE, POSTGRES = "SQLite and a folder", "PostgreSQL and S3"


@dataclass(frozen=True)
class Spent:
    """So far: answers by (method, route), without those that asked for these numbers; seconds of
    processor time of the server."""

    requests: dict[tuple[str, str], int]
    cpu_s: float

    def __sub__(self, other: "Spent") -> "Spent":
        new = {k: n - other.requests.get(k, 0) for k, n in self.requests.items()}
        return Spent({k: n for k, n in new.items() if n}, self.cpu_s - other.cpu_s)

    @property
    def count(self) -> int:
        """All requests."""
        return sum(self.requests.values())


def spent(server: TrackProcess) -> Spent:
    """As the server itself counts."""
    with server.http() as client:
        lines = client.get("/metrics").raise_for_status().text.splitlines()
    found: dict[tuple[str, str], int] = {}
    for line in lines:
        if (match := _COUNT.match(line)) and match[2] != "other":  # /metrics and /health
            key = match[1], match[2]
            found[key] = found.get(key, 0) + int(float(match[3]))
    return Spent(found, cpu_s(server.pid))


def cpu_s(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(folder: Path, store: str) -> Iterator[TrackProcess]:
    """A server with log-in, on SQLite and a folder or on the servers of scripts/services.sh."""
    settings = {} if store == SQLITE else _of_services()
    with TrackProcess(folder, settings=settings) as server:
        yield server


def _of_services() -> dict[str, Any]:
    import boto3
    import psycopg

    told = [os.environ.get(f"TESTSTRIP_TEST_{name}") for name in ("POSTGRES", "S3")]
    if not all(told):
        raise SystemExit("TESTSTRIP_TEST_POSTGRES is not set: run it by scripts/services.sh run")
    postgres, s3 = map(str, told)
    name = f"t{secrets.token_hex(5)}"
    databases = {"backend": name, "login_backend": f"{name}_login"}
    with psycopg.connect(postgres, autocommit=True) as connection:
        for database in databases.values():
            connection.execute(f'CREATE DATABASE "{database}"')  # type: ignore[arg-type]
    boto3.client("s3", endpoint_url=s3, region_name="us-east-1").create_bucket(Bucket=name)
    parts = urlsplit(postgres)
    found: dict[str, Any] = {
        field: urlunsplit(parts._replace(path=f"/{database}"))
        for field, database in databases.items()
    }
    keys = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
    return found | {"artifacts": f"s3://{name}/mlflow", "s3_endpoint": s3} | keys
