"""The tracking server as a process: settings, databases, the first user, the socket, the end."""

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip import environment
from teststrip.errors import MissingExtra
from teststrip.track.server.config import SECRETS, ServerConfig
from teststrip.wire.serving import Address, bound, url

if TYPE_CHECKING:
    import uvicorn

log = logging.getLogger(__name__)
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
    from teststrip.track.server.kept import Kept
    from teststrip.track.server.mlflow_settings import environment as mlflow_environment
    from teststrip.track.server.mlflow_settings import put
    from teststrip.track.server.names import check_bind
    from teststrip.track.server.places import places as placed

    check_bind(address.host, config)
    places = placed(home, config)
    kept = Kept(places.folder)
    listening = bound(address)
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        put(os.environ, mlflow_environment(places, config, address.host, kept=kept))
        try:
            from teststrip.track.server import app, people, schema

            schema.migrate(places, login=config.login == "on")
            password_file = None
            if config.login == "on":
                password_file = people.ensure_admin(places, config, kept)
            server = _server(app.create(config), config)
        except ModuleNotFoundError as exc:
            raise MissingExtra(f"the tracking server (package {exc.name})", "server") from exc
        admin = config.admin_username if config.login == "on" else ""
        say(Started(url(address, listening).rstrip("/"), config.login, admin, password_file))
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # what was asked for
    finally:
        signal.signal(signal.SIGTERM, before)
        listening.close()


def _server(app: object, config: ServerConfig) -> "uvicorn.Server":
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(config.trusted_proxies),
            forwarded_allow_ips=list(config.trusted_proxies),
            timeout_graceful_shutdown=GOODBYE_S,
        )
    )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
