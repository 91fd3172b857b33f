"""GET /metrics, for those whom MLflow's own log-in lets in."""

import asyncio
import hashlib
import secrets
import time
from typing import TYPE_CHECKING

from teststrip.track.server.answers import answer, header

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from teststrip.track.server.numbers import Numbers

PATH = "/metrics"
WHO_AM_I = "/api/2.0/mlflow/users/current"  # 200 to anybody who is logged in
OPEN = "/api/3.0/mlflow/server-info"  # where nobody is asked: the name of the host counts still
REMEMBER_S = 3600.0
SEVERAL = (
    "Several processes answer here (TESTSTRIP_TRACK_WORKERS), each with numbers of its own. "
    "For numbers run several servers of one process each.\n"
)


class MetricsPage:
    """Around MLflow's app, which is asked whether this caller may come in."""

    def __init__(
        self, app: "ASGIApp", numbers: "Numbers", *, login: bool, several: bool = False
    ) -> None:
        self._app, self._numbers, self._several = app, numbers, several
        self._ask = WHO_AM_I if login else OPEN
        self._known: tuple[bytes, float] = (b"", 0.0)
        self._salt = secrets.token_bytes(16)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """The numbers, or what MLflow says to this caller, or pass on."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "GET":
            return await self._app(scope, receive, send)
        held = await self._asked(scope)
        status = next((m["status"] for m in held if m["type"] == "http.response.start"), 500)
        who = hashlib.sha256(self._salt + header(scope, b"authorization")).digest()
        if status == 200:
            self._known = (who, time.monotonic())
        # whoever scraped in the last hour still learns that the database of users is away
        elif not (status >= 500 and self._is_known(who)):
            for message in held:
                await send(message)
            return None
        if self._several:
            return await answer(send, 501, SEVERAL)
        body = await asyncio.to_thread(self._numbers.text)
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return await answer(send, 200, body, {"content-type": kind})

    def _is_known(self, who: bytes) -> bool:
        known, since = self._known
        return secrets.compare_digest(known, who) and time.monotonic() - since < REMEMBER_S

    async def _asked(self, scope: "Scope") -> "list[Message]":
        held: list[Message] = []

        async def empty() -> "Message":
            return {"type": "http.request", "body": b"", "more_body": False}

        async def hold(message: "Message") -> None:
            held.append(message)

        asked = {**scope, "path": self._ask, "raw_path": self._ask.encode(), "query_string": b""}
        await self._app(asked, empty, hold)
        return held
