"""Where a server keeps things, as addresses that MLflow takes, and the same to be shown."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import SecretStr

from teststrip.track.server.config import ServerConfig

SQLITE = "sqlite:///"
PATIENCE = {  # of libpq: seconds, but the second, which is milliseconds
    "connect_timeout": 10,
    "tcp_user_timeout": 20_000,
    "keepalives_idle": 30,
}


@dataclass(frozen=True)
class Places:
    """Two databases and the place of artifacts; `folder` is the server's own, on this machine."""

    folder: Path
    backend: str = field(repr=False)
    login: str = field(repr=False)
    artifacts: str

    @property
    def is_embedded(self) -> bool:
        """Both databases are SQLite files and artifacts a folder: all is on this machine."""
        files = all(one.startswith(SQLITE) for one in (self.backend, self.login))
        return files and self.artifact_folder is not None

    @property
    def artifact_folder(self) -> Path | None:
        """The folder of artifacts; None where they are in a bucket."""
        return None if "://" in self.artifacts else Path(self.artifacts)


def places(home: Path, config: ServerConfig) -> Places:
    """Of the settings; what they leave open is in `home`."""
    folder = config.folder(home.resolve())
    backend = _secret(config.backend) or f"{SQLITE}{folder / 'mlflow.db'}"
    login = _secret(config.login_backend) or _login_beside(backend, folder)
    backend, login = _patient(backend), _patient(login)
    artifacts = config.artifacts or str(folder / "artifacts")
    if "://" not in artifacts:
        artifacts = str(Path(artifacts).resolve())
    return Places(folder, backend, login, artifacts)


def shown(uri: str) -> str:
    """A database's address without its log-in and options, for people and logs."""
    if uri.startswith(SQLITE):
        return f"{SQLITE}{sqlite_path(uri)}"
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def sqlite_path(uri: str) -> Path:
    """The file of a `sqlite:///` address."""
    return Path(uri.removeprefix(SQLITE).partition("?")[0]).resolve()


def _login_beside(backend: str, folder: Path) -> str:
    """Users have a database of their own: both schemas have tables of the same names."""
    if backend.startswith(SQLITE):
        return f"{SQLITE}{folder / 'login.db'}"
    parts = urlsplit(backend)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}_login"))


def _patient(uri: str) -> str:
    """A server that is cut off shall be a fault after seconds, not whenever the network says so.

    MLflow asks for users in its event loop: one connection that waits for ever would stop all.
    """
    if uri.startswith(SQLITE):
        return uri
    parts = urlsplit(uri)
    given = {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)}
    more = [f"{name}={value}" for name, value in PATIENCE.items() if name not in given]
    return urlunsplit(parts._replace(query="&".join([parts.query] * bool(parts.query) + more)))


def _secret(given: SecretStr | None) -> str:
    return given.get_secret_value() if given else ""
