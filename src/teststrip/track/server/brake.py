"""The brake on guessed passwords: after ten wrong ones an address waits, its known ones do not.

Bounded in memory; of IPv6 a whole /64 counts as one address, for it belongs to one machine. Whoever
was let in lately from that address with the same log-in is never held up, so that a guesser behind
the same proxy locks nobody out.
"""

import asyncio
import hashlib
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from teststrip.track.server.answers import answer, header

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Key = TypeVar("Key")
Value = TypeVar("Value")
MOST_WRONG, WITHIN_S = 10, 60.0
KNOWN_S = 3600.0
MOST_KEPT = 10_000


class Brake:
    """Around the app that asks for a log-in. `wrong` is told of each wrong one.

    `users_up` says whether the database of users answers: MLflow answers 401 where it is away, and
    a client would take its own password for wrong. Here that is a 503.
    """

    def __init__(
        self,
        app: "ASGIApp",
        wrong: Callable[[], None],
        users_up: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._wrong, self._users_up, self._clock = app, wrong, users_up, clock
        self._failed: OrderedDict[str, list[float]] = OrderedDict()  # by address, oldest first
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._salt = secrets.token_bytes(16)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass on, or hold up."""
        login = header(scope, b"authorization") if scope["type"] == "http" else b""
        if not login:
            return await self._app(scope, receive, send)
        address = _address(scope)
        who = hashlib.sha256(self._salt + address.encode() + b"\0" + login).digest()
        if not self.is_known(who) and (wait := self._wait_s(address)) > 0:
            text = "Too many wrong log-ins from this address; wait a minute.\n"
            return await answer(send, 429, text, {"retry-after": str(int(wait) + 1)})
        swallowed = False

        async def seen(message: "Message") -> None:
            nonlocal swallowed
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 401:
                    if not await asyncio.to_thread(self._users_up):
                        swallowed = True
                        text = "The database of users cannot be reached; try again.\n"
                        return await answer(send, 503, text, {"retry-after": "2"})
                    self._note_wrong(address, who)
                elif status < 400:
                    _put(self._known, who, self._clock())
            if not swallowed:
                await send(message)

        await self._app(scope, receive, seen)

    def is_known(self, who: bytes) -> bool:
        """Was this log-in let in lately from that address?"""
        return self._clock() - self._known.get(who, -KNOWN_S) < KNOWN_S

    def _wait_s(self, address: str) -> float:
        times = self._failed.get(address, [])
        return times[-MOST_WRONG] + WITHIN_S - self._clock() if len(times) >= MOST_WRONG else 0.0

    def _note_wrong(self, address: str, who: bytes) -> None:
        self._wrong()
        self._known.pop(who, None)  # its password was changed
        times = [*self._failed.get(address, []), self._clock()][-MOST_WRONG:]
        _put(self._failed, address, times)


def _put(kept: OrderedDict[Key, Value], key: Key, value: Value) -> None:
    kept[key] = value
    kept.move_to_end(key)
    while len(kept) > MOST_KEPT:
        kept.popitem(last=False)


def _address(scope: "Scope") -> str:
    host = (scope.get("client") or ("", 0))[0]
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    if found.version == 6:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return host
