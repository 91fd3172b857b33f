"""Where the record goes, and what is said when it cannot go there."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from teststrip.errors import StorageError
from teststrip.track import names

pytest.importorskip("mlflow")

from teststrip.track.connection import Connection
from teststrip.track.mlflow import MlflowTracker


def test_importing_the_tracker_leaves_the_environment_alone():
    code = (
        "import os, sys; before = dict(os.environ); import teststrip.track.mlflow; "
        "import teststrip.track.reader; assert dict(os.environ) == before; "
        "assert 'mlflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_an_address_the_record_lies_under_home(home):
    connection = Connection(home)

    assert connection.uri == f"sqlite:///{home}/mlflow.db"
    found = connection.client.get_experiment(connection.experiment_id)
    assert found.name == "teststrip"
    assert (home / "artifacts").is_dir()


def test_the_users_own_settings_stay(home, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")

    Connection(home)

    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "5"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_a_new_store_is_made_while_the_caller_goes_on(tmp_path, monkeypatch, caplog):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    with caplog.at_level(logging.INFO):
        started = time.monotonic()
        tracker = MlflowTracker(tmp_path / "new")
        waited = time.monotonic() - started
        making = [t for t in threading.enumerate() if t.name.startswith("mlflow-open")]
        run_id = tracker.start_study("demo", {"name": "demo"})

    assert making
    assert waited < 2.5  # the import was paid by an earlier test
    assert run_id
    assert not [r for r in caplog.records if "Creating initial" in r.message]


def test_two_trackers_share_one_experiment(home):
    assert Connection(home).experiment_id == Connection(home).experiment_id


def test_a_dead_server_is_named_within_seconds(tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:secret@127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    started = time.monotonic()

    with pytest.raises(StorageError) as caught:
        MlflowTracker(tmp_path).start_study("demo", {})

    assert time.monotonic() - started < 30
    assert f"127.0.0.1:{port}" in str(caught.value)
    assert "MLFLOW_TRACKING_URI" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_damaged_store_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlflow.db").write_bytes(b"this is no database" * 100)

    with pytest.raises(StorageError, match=r"mlflow\.db"):
        MlflowTracker(tmp_path).start_study("demo", {})


def test_names_are_fitted_to_the_store():
    assert names.key("clip_small@1") == "clip_small:1"
    assert names.key("größe#1") == "gr__e_1"
    assert names.fitted("short") == "short"
    assert names.flat({"a": {"b": 1, "c": [1]}, "d": {}}) == {"a.b": 1, "a.c": [1], "d": {}}


def test_a_cut_value_tells_two_long_texts_apart():
    one, two = names.fitted("x" * 7000 + "1"), names.fitted("x" * 7000 + "2")

    assert len(one) == len(two) == names.MAX_VALUE
    assert one != two
