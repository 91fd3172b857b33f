"""Other ways to run it: without a log-in, behind a proxy that asks, as several processes."""

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from teststrip.errors import ConfigError
from teststrip.testing.service_process import until
from teststrip.testing.track_process import TrackProcess
from teststrip.track.server.config import ServerConfig
from teststrip.track.server.names import allowed_hosts, allowed_origins, check_bind

RUNS = "/api/2.0/mlflow/runs/search"


def refused(tmp_path: Path, *words: str, **settings: str) -> str:
    """What `track serve` says when it does not start."""
    env = TrackProcess(tmp_path, settings=settings).env
    done = subprocess.run(
        [sys.executable, "-m", "teststrip", "track", "serve", "--port", "0", *words, "--json"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode in (1, 2), done.stderr
    assert json.loads(done.stdout)["error"]["message"] in done.stderr
    return done.stderr


def test_all_faults_of_settings_are_told_at_once_and_no_secret(tmp_path) -> None:
    said = refused(
        tmp_path,
        login="maybe",
        backend="mysql://root:hush@db/x",
        artifacts="ftp://x",
        admin_password="short",
        wokers="2",
    )
    for name in ("LOGIN", "BACKEND", "ARTIFACTS", "WOKERS: unknown setting; did you mean"):
        assert f"TESTSTRIP_TRACK_{name}" in said
    assert "hush" not in said
    assert "short'" not in said


def test_an_open_bind_needs_a_log_in_and_a_name() -> None:
    check_bind("127.0.0.1", ServerConfig(login="off"))
    check_bind("0.0.0.0", ServerConfig(login="proxy", public_url="https://m.example.org"))
    check_bind("10.0.0.5", ServerConfig())
    with pytest.raises(ConfigError, match="LOGIN=off") as told:
        check_bind("0.0.0.0", ServerConfig(login="off"))
    assert len(told.value.faults) == 2
    with pytest.raises(ConfigError, match="PUBLIC_URL"):
        check_bind("::", ServerConfig())


def test_names_and_origins_come_from_the_public_address() -> None:
    config = ServerConfig(public_url="https://m.example.org", allow_hosts=("track", "m.local:8443"))
    hosts = allowed_hosts("0.0.0.0", config)
    assert {"m.example.org", "m.example.org:443", "track", "track:*", "m.local:8443"} <= set(hosts)
    assert not {"m.example.org:*", "m.local:*", "0.0.0.0"} & set(hosts)
    assert "[[]::1]:*" in hosts
    origins = allowed_origins(config)
    assert "https://m.example.org" in origins
    assert "http://m.example.org" not in origins
    odd = ServerConfig(public_url="http://m.example.org:8080/mlflow")
    assert allowed_origins(odd) == ["http://m.example.org:8080"]
    assert "m.example.org" not in allowed_hosts("0.0.0.0", odd)


def test_a_busy_port_and_a_damaged_database_are_told(tmp_path, server: TrackProcess) -> None:
    port = server.address.rpartition(":")[2]
    assert "is in use" in refused(tmp_path / "busy", "--port", port)
    folder = tmp_path / "damaged" / "home" / "track"
    folder.mkdir(parents=True)
    (folder / "mlflow.db").write_bytes(b"no database at all" * 100)
    said = refused(tmp_path / "damaged")
    assert "cannot be used" in said
    assert "mlflow.db" in said


def test_two_on_one_home_are_refused(server: TrackProcess) -> None:
    assert "is being run by another process" in refused(server.home.parent)


def test_a_proxy_that_asks_who_they_are(tmp_path) -> None:
    settings = {"login": "proxy", "public_url": "https://m.example.org"}
    with TrackProcess(tmp_path, host="0.0.0.0", settings=settings) as own:
        with httpx.Client(base_url=own.address, trust_env=False) as client:
            ask = {"json": {"experiment_ids": ["0"]}}
            named = {"host": "m.example.org", "origin": "https://m.example.org"}
            assert client.post(RUNS, headers=named, **ask).status_code == 200
            for bad in (
                {"host": "other.example.org"},
                {"host": "m.example.org", "origin": "https://evil.example"},
            ):
                assert client.post(RUNS, headers=bad, **ask).status_code == 403, bad
            assert client.get("/metrics").status_code == 200
            assert client.get("/metrics", headers={"host": "evil.example"}).status_code == 403
        assert not (own.home / "track" / "login.db").exists()


@pytest.mark.slow  # each imports MLflow
def test_several_processes_share_the_work_and_one_may_die(tmp_path) -> None:
    with TrackProcess(tmp_path, settings={"workers": 2}) as own, own.http() as client:
        assert client.post(RUNS, json={"experiment_ids": ["0"]}).status_code == 200
        assert client.get("/metrics").status_code == 501
        workers = children(own.pid)
        assert len(workers) >= 2
        subprocess.run(["kill", "-9", str(workers[-1])], check=True)
        until(lambda: len(set(children(own.pid)) - {workers[-1]}) >= len(workers), own.log_text)
        with own.http() as fresh:
            assert fresh.post(RUNS, json={"experiment_ids": ["0"]}).status_code == 200
        assert own.stop() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    found = [int(word) for task in tasks for word in task.read_text().split()]
    return [n for n in found if "spawn_main" in Path(f"/proc/{n}/cmdline").read_text()]
