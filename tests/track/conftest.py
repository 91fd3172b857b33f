"""A real sqlite store for each test, copied from one that was made once (4 s of migrations)."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest


@pytest.fixture(scope="session")
def fresh_store(tmp_path_factory):
    """A migrated but empty sqlite file."""
    pytest.importorskip("mlflow")
    from teststrip.track.connection import Connection

    home = tmp_path_factory.mktemp("fresh")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        connection = Connection(home, "unused")
        assert connection.experiment_id
    return home / "mlflow.db"


@pytest.fixture
def home(fresh_store, tmp_path, monkeypatch):
    """A home folder with a space and a letter beyond ASCII in its name."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "my störe"
    folder.mkdir()
    shutil.copyfile(fresh_store, folder / "mlflow.db")
    return folder


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The address of a real `mlflow server` (sqlite, artifacts proxied)."""
    place = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    arguments = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    arguments += ["--backend-store-uri", f"sqlite:///{place}/server.db"]
    arguments += ["--artifacts-destination", str(place / "artifacts"), "--serve-artifacts"]
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            arguments, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while not _is_up(address):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"mlflow server did not start:\n{(place / 'log').read_text()[-2000:]}")
            time.sleep(0.3)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.fixture(params=["sqlite", "server"])
def place(request, home, monkeypatch):
    """(connection, run id) of a study, in the local store and on a real server."""
    from teststrip.track.connection import Connection
    from teststrip.track.mlflow import MlflowTracker

    if request.param == "server":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("server"))
    run_id = MlflowTracker(home).start_study("demo", {"name": "demo"})
    return Connection(home), run_id


def _is_up(address):
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False
