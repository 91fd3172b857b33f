"""Real stores: sqlite files copied from one that was made once (4 s of migrations), a real server."""

import shutil

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
