"""Where a server keeps things, as its settings say."""

from pathlib import Path

import pytest

from teststrip.track.server.config import ServerConfig
from teststrip.track.server.mlflow_settings import login_ini, put
from teststrip.track.server.places import places, shown

SECRET = "p%40ss%25word"


def test_without_settings_all_is_in_the_home_folder(tmp_path: Path) -> None:
    found = places(tmp_path, ServerConfig())
    assert found.backend == f"sqlite:///{tmp_path}/track/mlflow.db"
    assert found.login == f"sqlite:///{tmp_path}/track/login.db"
    assert found.artifact_folder == tmp_path / "track" / "artifacts"
    assert found.is_embedded


def test_users_have_a_database_beside_and_a_server_has_patience(tmp_path: Path) -> None:
    config = ServerConfig(backend=f"postgresql://a:{SECRET}@db:5433/mlflow?connect_timeout=3")
    found = places(tmp_path, config)
    assert found.login.startswith(
        f"postgresql://a:{SECRET}@db:5433/mlflow_login?connect_timeout=3&"
    )
    assert found.backend.count("connect_timeout") == 1
    assert "tcp_user_timeout" in found.backend
    assert not found.is_embedded
    assert SECRET not in repr(found)
    socket = ServerConfig(backend="postgresql://mlflow@/mlflow?host=/run/postgresql")
    assert "/mlflow_login?host=/run/postgresql&" in places(tmp_path, socket).login


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("postgresql://a:b@db/mlflow?password=c", "postgresql://db/mlflow"),
        ("sqlite:////data/x.db", "sqlite:////data/x.db"),
    ],
)
def test_what_is_shown_holds_no_secret(uri: str, said: str) -> None:
    assert shown(uri) == said


def test_percent_signs_of_a_password_survive_the_file_of_settings(tmp_path: Path) -> None:
    import configparser

    config = ServerConfig(backend=f"postgresql://a:{SECRET}@db/mlflow")
    found, read = places(tmp_path, config), configparser.ConfigParser()
    read.read_string(login_ini(found, config))
    assert read["mlflow"]["database_uri"] == found.login
    assert read["mlflow"]["default_permission"] == "NO_PERMISSIONS"


def test_settings_of_mlflow_that_would_undo_ours_go() -> None:
    environ = {
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_AUTH_ADMIN_PASSWORD": "x",
        "MLFLOW_BACKEND_STORE_URI": "sqlite:///other.db",
        "_MLFLOW_STATIC_PREFIX": "/x",
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "3",
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS": "{}",
        "HOME": "/root",
    }
    put(environ, {"MLFLOW_DISABLE_TELEMETRY": "true"})
    assert set(environ) == {
        "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE",
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS",
        "HOME",
        "MLFLOW_DISABLE_TELEMETRY",
    }
