"""The tracking server as a process: settings, databases, the first user, the socket, the end."""

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip import environment
from teststrip.errors import MissingExtra
from teststrip.lock import FolderLock
from teststrip.track.server.config import SECRETS, ServerConfig
from teststrip.wire.serving import Address, bound, url

if TYPE_CHECKING:
    import uvicorn
    from starlette.types import ASGIApp
    from uvicorn import Config

    from teststrip.track.server.places import Places

GOODBYE_S = 10  # for requests under way


@dataclass(frozen=True)
class Started:
    """What is told once it answers."""

    address: str
    login: str
    admin: str  # the first user's name; "" where nobody is asked
    password_file: Path | None  # where the password lies that was made now


def read_config() -> ServerConfig:
    """TESTSTRIP_TRACK_* of this process. Raises ConfigError with all faults."""
    return environment.read(ServerConfig, "the tracking server's settings", files=SECRETS)


def serve(
    home: Path, config: ServerConfig, address: Address, say: Callable[[Started], None]
) -> None:
    """Serve until Ctrl-C or SIGTERM; `say` is told once it answers.

    Raises ConfigError for wrong settings or an open bind, StorageError where a database or the
    place of artifacts cannot be used, MissingExtra without the server's packages.
    """
    from teststrip.track.server.names import check_bind
    from teststrip.track.server.places import places as placed

    check_bind(address.host, config)
    places = placed(home, config)
    with alone(places):
        listening = bound(address)
        before = signal.signal(signal.SIGTERM, _interrupt)
        try:
            set_environment(places, config, address.host)
            with packages():
                password_file = _prepared(places, config)
                server = _server(places, config)
            admin = config.admin_username if config.login == "on" else ""
            say(Started(url(address, listening).rstrip("/"), config.login, admin, password_file))
            _run(server, listening)
        except KeyboardInterrupt:
            pass  # what was asked for
        finally:
            signal.signal(signal.SIGTERM, before)
            listening.close()


@contextmanager
def alone(places: "Places") -> Iterator[None]:
    """Two servers on one folder of SQLite files would slow each other; a backup asks who is there.

    Raises StudyError where another holds it.
    """
    if not places.is_embedded:
        yield
        return
    with FolderLock(places.folder, f"the tracking server of {places.folder}").held():
        places.folder.chmod(0o700)  # hashes of passwords lie in it
        yield


def _prepared(places: "Places", config: ServerConfig) -> Path | None:
    """Databases, bucket and first user; the file of a password that was made now."""
    from teststrip.track.server import checks, people, schema
    from teststrip.track.server.kept import Kept

    login = config.login == "on"
    if config.migrate:
        schema.migrate(places, login=login)
    else:
        schema.check(places, login=login)
    checks.check_artifacts(places, config)
    return people.ensure_admin(places, config, Kept(places.folder)) if login else None


def set_environment(places: "Places", config: ServerConfig, host: str = "127.0.0.1") -> None:
    """Of this process, for MLflow's server, which reads it when it is imported."""
    from teststrip.track.server.kept import Kept
    from teststrip.track.server.mlflow_settings import environment as mlflow_environment
    from teststrip.track.server.mlflow_settings import put

    put(os.environ, mlflow_environment(places, config, host, kept=Kept(places.folder)))


@contextmanager
def packages() -> Iterator[None]:
    """Around what needs the extra: says what to install for a package that is not there."""
    try:
        yield
    except ModuleNotFoundError as exc:
        raise MissingExtra(f"the tracking server (package {exc.name})", "server") from exc


def _server(places: "Places", config: ServerConfig) -> "uvicorn.Server | Config":
    """A server of this process, or the settings of several processes."""
    import uvicorn

    from teststrip.track.server import app

    several = config.workers > 1
    options = uvicorn.Config(
        "teststrip.wire.track_server:worker" if several else app.create(places, config),
        factory=several,
        workers=config.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(config.trusted_proxies),
        forwarded_allow_ips=list(config.trusted_proxies),
        timeout_graceful_shutdown=GOODBYE_S,
    )
    return options if several else uvicorn.Server(options)


def worker() -> "ASGIApp":
    """The app of one process among several; MLflow's settings are in the environment by now."""
    from teststrip.settings import Settings
    from teststrip.track.server import app
    from teststrip.track.server.places import places

    config = read_config()
    set_up_logs(config)
    return app.create(places(Settings().home, config), config)


def set_up_logs(config: ServerConfig) -> None:
    """Of this process: ours as TESTSTRIP_LOG says, of MLflow what is wrong. Raises ConfigError."""
    from teststrip.serve.operate import logs

    logs.configure("track", config.log)
    for name in ("mlflow.server.auth", "mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)  # "experimental", "updating tables"


def _run(server: "uvicorn.Server | Config", listening: socket.socket) -> None:
    import uvicorn

    if isinstance(server, uvicorn.Server):
        server.run(sockets=[listening])
    else:
        from uvicorn.supervisors import Multiprocess

        Multiprocess(server, sockets=[listening]).run()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
