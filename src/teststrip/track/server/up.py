"""Do the databases answer? Asked by the numbers and by the log-in, at most once a second."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teststrip.track.server.places import SQLITE

AGAIN_S = 1.0
PATIENCE_S = 3  # for a server that takes the connection and says nothing


class Up:
    """Of the databases at `uris`. Asking blocks for up to three seconds each."""

    def __init__(self, uris: Sequence[str]) -> None:
        import sqlalchemy

        self._engines: list[Any] = []
        for uri in uris:
            options = {} if uri.startswith(SQLITE) else {"connect_args": _quick()}
            self._engines.append(
                sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool, **options)
            )
        self._lock = threading.Lock()
        self._last: tuple[float, bool] = (-AGAIN_S, True)

    def __call__(self) -> bool:
        """True where all answer."""
        with self._lock:
            when, was = self._last
            if time.monotonic() - when < AGAIN_S:
                return was
            now = all(_answers(engine) for engine in self._engines)
            self._last = (time.monotonic(), now)
            return now


def _quick() -> dict[str, Any]:
    return {"connect_timeout": PATIENCE_S, "tcp_user_timeout": PATIENCE_S * 1000}


def _answers(engine: Any) -> bool:
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError

    file = engine.url.database if engine.dialect.name == "sqlite" else None
    if file is not None and not Path(file).exists():
        return False  # connecting would make an empty one
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, OSError):
        return False
    return True
