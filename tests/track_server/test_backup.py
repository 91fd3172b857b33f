"""Saved while it is served, brought back elsewhere; a damaged file changes nothing."""

import io
import tarfile
import threading
from pathlib import Path

import pytest

from teststrip.errors import ConfigError, StorageError, StudyError
from teststrip.testing.track_process import TrackProcess
from teststrip.track.server.config import ServerConfig
from teststrip.wire.track_keeping import backup, restore

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
API = "/api/2.0/mlflow"


def test_saved_under_load_and_brought_back_on_another_machine(tmp_path) -> None:
    file, ended, begun = tmp_path / "saved.tar", threading.Event(), threading.Event()
    with TrackProcess(tmp_path / "one") as one, one.http() as client:
        answer = client.post(f"{API}/runs/create", json={"experiment_id": "0"}).json()
        run = answer["run"]["info"]["run_id"]
        client.put(f"{ARTIFACTS}/0/{run}/artifacts/a.png", content=b"image").raise_for_status()
        client.post(f"{API}/users/create", json={"username": "mara", "password": "m" * 12})

        def writes() -> None:
            step = 0
            while not ended.is_set():
                step += 1
                metric = {"run_id": run, "key": "loss", "value": step, "timestamp": 1, "step": step}
                client.post(f"{API}/runs/log-metric", json=metric).raise_for_status()
                begun.set()

        writer = threading.Thread(target=writes)
        writer.start()
        try:
            assert begun.wait(60)
            saved = backup(one.home, ServerConfig(), file)
        finally:
            ended.set()
            writer.join()
        with pytest.raises(StudyError, match="is being run"):
            restore(one.home, ServerConfig(), file, replace=True)
        password = one.password
    assert saved.files == 3
    assert file.stat().st_mode & 0o077 == 0
    assert {path.name for path in tmp_path.iterdir()} == {"one", "saved.tar"}

    other = tmp_path / "other" / "home"
    restore(other, ServerConfig(), file, replace=False)
    with TrackProcess(tmp_path / "other") as two:
        assert two.told["password_file"] is None  # its users came with it
        with two.http(login=("admin", password)) as client:
            assert client.get(f"{ARTIFACTS}/0/{run}/artifacts/a.png").content == b"image"
            metric = {"run_id": run, "metric_key": "loss"}
            history = client.get(f"{API}/metrics/get-history", params=metric).json()["metrics"]
            assert [one["step"] for one in history] == list(range(1, len(history) + 1))
        with two.http(login=("mara", "m" * 12)) as client:
            assert client.get(f"{API}/users/current").json()["user"]["username"] == "mara"
    with pytest.raises(ConfigError, match="--replace"):
        restore(other, ServerConfig(), file, replace=False)
    _, aside = restore(other, ServerConfig(), file, replace=True)
    assert len(aside) == 3
    assert all(path.exists() for path in aside)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    from teststrip.track.server import first_schema, schema

    folder = tmp_path / "home" / "track"
    (folder / "artifacts" / "0").mkdir(parents=True)
    (folder / "artifacts" / "0" / "a.png").write_bytes(b"image" * 1000)
    wanted = schema.state("runs", "sqlite:////nowhere").wanted
    first_schema.load(folder / "mlflow.db", "runs", wanted)
    backup(tmp_path / "home", ServerConfig(), tmp_path / "saved.tar")
    return tmp_path / "saved.tar"


def test_a_damaged_or_short_file_changes_nothing(saved: Path, tmp_path: Path) -> None:
    whole = saved.read_bytes()
    at = whole.index(b"imageimage")
    for name, data in {
        "damaged": whole[:at] + b"IMAGE" + whole[at + 5 :],
        "short": whole[: len(whole) // 2],
        "without-list": whole[: whole.index(b"manifest.json")] + b"\0" * 1024,
        "empty": b"",
        "other": b"no tar at all" * 100,
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(StorageError):
            restore(tmp_path / "new", ServerConfig(), tmp_path / name, replace=False)
        left = [path.name for path in (tmp_path / "new" / "track").iterdir()]
        assert left == ["lock"], name


@pytest.mark.parametrize("name", ["../x", "/etc/x", "artifacts/../../x", "artifacts/", "secrets/x"])
def test_a_file_that_reaches_out_is_refused(name: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(StorageError, match="no backup of ours"):
        restore(tmp_path / "new", ServerConfig(), tmp_path / "evil.tar", replace=False)
    assert not (tmp_path / "x").exists()


def test_links_are_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        info = tarfile.TarInfo("artifacts/x")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(StorageError, match="no backup of ours"):
        restore(tmp_path / "new", ServerConfig(), tmp_path / "evil.tar", replace=False)


def test_postgresql_and_buckets_are_told_what_to_do(tmp_path: Path) -> None:
    config = ServerConfig(backend="postgresql://a:hush@db/mlflow", artifacts="s3://runs")
    with pytest.raises(ConfigError, match="pg_dump") as told:
        backup(tmp_path, config, tmp_path / "x.tar")
    assert "versioning" in str(told.value)
    assert "hush" not in str(told.value)


def test_where_a_backup_may_not_lie(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is there already"):
        backup(tmp_path / "home", ServerConfig(), saved)
    with pytest.raises(ConfigError, match="outside"):
        backup(tmp_path / "home", ServerConfig(), tmp_path / "home" / "track" / "x.tar")
    with pytest.raises(StorageError, match="nothing to save"):
        backup(tmp_path / "nobody", ServerConfig(), tmp_path / "y.tar")
