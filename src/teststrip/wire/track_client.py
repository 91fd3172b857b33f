"""Asks a tracking server as its clients do: the doctor, and its users."""

import os
from typing import TYPE_CHECKING

from teststrip.errors import ConfigError

if TYPE_CHECKING:
    from teststrip.track.doctor import Report
    from teststrip.track.rest import Rest
    from teststrip.track.users import Users


def doctor(
    address: str | None = None,
    *,
    large_mb: int = 0,
    experiment: str = "",
    timeout_s: float = 30.0,
) -> "Report":
    """Look at a server and tidy up. `address`: None is MLFLOW_TRACKING_URI.

    `large_mb`: also a file of so many megabytes, doubling up to it; `experiment`: write the run
    there and not into one that is made for it. Raises ConfigError for an address that is none.
    """
    from teststrip.track.doctor import Visit, examine

    rest = _rest(address, timeout_s)
    return examine(Visit(rest, large_mb, experiment, dict(os.environ)))


def users(address: str | None = None) -> "Users":
    """The users of a server, asked with the administrator's log-in. Raises ConfigError."""
    from teststrip.track.users import Users

    rest = _rest(address, 30.0)
    if not rest.login:
        raise ConfigError(
            "no log-in is set: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD of an "
            "administrator"
        )
    return Users(rest)


def _rest(address: str | None, timeout_s: float) -> "Rest":
    from teststrip.track.rest import Rest, checked_address, login_of

    given = address or os.environ.get("MLFLOW_TRACKING_URI", "")
    return Rest(checked_address(given), login_of(os.environ), timeout_s=timeout_s)
