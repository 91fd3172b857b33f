"""The first user: an admin whose password is given, or made and kept. Never a known default."""

import logging
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError
from teststrip.track.server.config import ServerConfig
from teststrip.track.server.kept import ADMIN_PASSWORD, Kept
from teststrip.track.server.places import Places

log = logging.getLogger(__name__)
WELL_KNOWN = "password1234"  # MLflow shipped it once


def ensure_admin(places: Places, config: ServerConfig, kept: Kept) -> Path | None:
    """Make the admin where the database of users has none of this name.

    The file of a password that was made now, None otherwise. MLflow's server is imported for it,
    so its environment is set before. Raises ConfigError, StorageError.
    """
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.exc import IntegrityError

    users = SqlAlchemyStore()
    users.init_db(places.login)
    try:
        if users.has_user(config.admin_username):
            _say_what_counts(users, config)
            return None
        is_new = False
        if config.admin_password:
            password = config.admin_password.get_secret_value()
        else:
            password, is_new = kept.made(ADMIN_PASSWORD)
        if password == WELL_KNOWN:
            raise ConfigError("TESTSTRIP_TRACK_ADMIN_PASSWORD is a default that everybody knows")
        try:
            users.create_user(config.admin_username, password, is_admin=True)
        except Exception as exc:
            if isinstance(exc.__cause__, IntegrityError):  # another process was quicker
                return None
            raise
        return kept.path(ADMIN_PASSWORD) if is_new else None
    finally:
        users.engine.dispose()


def _say_what_counts(users: Any, config: ServerConfig) -> None:
    """A password that was changed since is not changed back by a restart."""
    given = config.admin_password
    if given and not users.authenticate_user(config.admin_username, given.get_secret_value()):
        log.warning(
            "TESTSTRIP_TRACK_ADMIN_PASSWORD is not the password of %s (any more): it counts at "
            "the first start only; `teststrip track users password` changes it",
            config.admin_username,
        )
