"""`teststrip track serve` and what keeps a tracking server in order."""

import logging
import sys
from typing import Annotated, Any

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json
from teststrip.wire import settings

Host = Annotated[str, typer.Option("--host", help="Address to listen at.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")]


def serve(host: Host = "127.0.0.1", port: Port = 5000, as_json: Json = False) -> None:
    """MLflow for a team: runs, images and models, behind a log-in.

    Without settings all is in TESTSTRIP_HOME/track: SQLite, a folder of artifacts, a password that
    is made at the first start. PostgreSQL, s3:// and gs:// by TESTSTRIP_TRACK_*, see
    docs/tracking-server.md. Clients need MLFLOW_TRACKING_URI, _USERNAME and _PASSWORD, no more.

    \b
    Examples:
      teststrip track serve
      TESTSTRIP_TRACK_BACKEND=postgresql://mlflow:secret@db/mlflow \\
      TESTSTRIP_TRACK_ARTIFACTS=s3://bucket/runs \\
      TESTSTRIP_TRACK_PUBLIC_URL=https://mlflow.example.org \\
      teststrip track serve --host 0.0.0.0
    """
    from teststrip.wire.serving import Address
    from teststrip.wire.track_server import Started
    from teststrip.wire.track_server import serve as served

    config = configured()

    def say(started: Started) -> None:
        data: dict[str, Any] = {
            "address": started.address,
            "login": started.login,
            "admin": started.admin,
            "password_file": str(started.password_file or "") or None,
        }
        lines = [f"tracking server: {started.address}  (Ctrl-C ends it)"]
        if started.password_file:
            lines.append(f"first user: {started.admin}, password in {started.password_file}")
            if sys.stdout.isatty():  # a log keeps what it is told
                lines.append(f"its password, shown this once: {started.password_file.read_text()}")
        verbs.show(data, as_json, "\n".join(lines))
        sys.stdout.flush()  # also where a script waits for the address

    served(settings().home, config, Address(host, port), say)


def configured() -> Any:
    """The settings, with the logs of this process set up. Raises ConfigError."""
    from teststrip.serve.operate import logs
    from teststrip.wire.track_server import read_config

    config = read_config()
    logs.configure("track", config.log)
    for name in ("mlflow.server.auth", "mlflow.store.db.utils", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)  # "experimental", "updating tables"
    return config
