"""What a store's fault means: it is away for now, it refuses us, or it refuses this one record."""

import re
from collections.abc import Iterator
from typing import Any

from teststrip.errors import StorageError

# the server or what it stands on is not there now; 408 and 429 say so themselves
_AWAY = frozenset({408, 429})
_REFUSED = frozenset({401, 403, 407})
# how MLflow's client tells of an answer that is not in its own JSON, as a proxy's is
_STATUS = re.compile(r"failed with error code (\d{3})\b")
# what sockets say, at the end of a long line of others' words
_SAID = {
    "Connection refused": "connection refused",
    "Name or service not known": "no such host name",
    "Temporary failure in name resolution": "no name server answers",
    "No route to host": "no route to the host",
    "Network is unreachable": "the network is unreachable",
    "timed out": "no answer in time",
    "RemoteDisconnected": "the connection was closed without an answer",
    "Connection reset": "the connection was reset",
}


class StoreAway(StorageError):  # noqa: N818 - it says what is so
    """Nobody answers, or nobody who could work: the same call may succeed later."""


class StoreRefused(StorageError):  # noqa: N818 - it says what is so
    """It answers and refuses whatever we ask: log-in, name of the host, certificate."""


def is_away(status: int) -> bool:
    """Does this HTTP status say that the same request may succeed later?"""
    return status >= 500 or status in _AWAY


def kind_of(exc: BaseException) -> type[StorageError]:
    """Which error of ours this is; StorageError itself where only this request was refused."""
    import requests
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    away: tuple[type[BaseException], ...] = (ConnectionError, TimeoutError)
    away += (requests.RequestException, InterfaceError, OperationalError)

    for one in _chain(exc):
        if isinstance(one, requests.HTTPError) and one.response is not None:
            return _of_status(one.response.status_code)
        if isinstance(one, requests.exceptions.SSLError) and "certificate" in str(one).lower():
            return StoreRefused  # a server that dies while they speak is no wrong certificate
        if isinstance(one, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
            return StorageError
        lost = isinstance(one, DBAPIError) and one.connection_invalidated
        if lost or isinstance(one, away):
            return StoreAway
    return _of_mlflow(exc) if isinstance(exc, MlflowException) else StorageError


def words(exc: BaseException) -> str:
    """What went wrong, in few words where it is a fault of the connection; else its first line."""
    said = " ".join(str(one) for one in _chain(exc))
    for sign, meaning in _SAID.items():
        if sign in said:
            return meaning
    return str(exc).strip().partition("\n")[0][:300]


def _of_mlflow(exc: Any) -> type[StorageError]:
    if told := _STATUS.search(str(exc)):
        return _of_status(int(told[1]))
    if exc.error_code == "BAD_REQUEST":
        return StoreAway  # what MLflow says where its own database broke off
    if exc.error_code in ("INVALID_STATE", "NOT_IMPLEMENTED"):
        return StorageError  # counted among the server's faults, but trying again is no cure
    return _of_status(int(exc.get_http_status_code()))


def _of_status(status: int) -> type[StorageError]:
    if status in _REFUSED:
        return StoreRefused
    return StoreAway if is_away(status) else StorageError


def _chain(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
