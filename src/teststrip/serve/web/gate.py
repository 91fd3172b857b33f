"""Before any route: our host, our site, a body of bounded size, headers, and the numbers of it all.

Plain ASGI: answers stream through it, and a client that goes away is seen by the route.
"""

import asyncio
import re
import time
from collections.abc import Collection

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teststrip import guard
from teststrip.serve.operate.metrics import Metrics
from teststrip.serve.web import problems
from teststrip.serve.web.problems import Problem

BODY_S = 60  # a body that takes longer to arrive is refused
MOST_DEPTH = 16
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")


class Gate:
    """`hosts`: names to answer to besides this machine's ("*": any). `long_body`: by path."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        metrics: Metrics,
        hosts: Collection[str],
        max_body: int,
        long_body: dict[str, int],
    ) -> None:
        self._app, self._metrics = app, metrics
        self._hosts = {host.lower() for host in hosts}
        self._max_body, self._long_body = max_body, long_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with `state.csrf` set; a page's answer sets the token's cookie."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        request = Request(scope, receive)
        request.state.csrf, fresh = guard.token_of(request.cookies)

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, request.state.csrf if fresh else None)
            await send(message)

        started = _Started(sent)
        try:
            self._refuse(request)
            body = await self._body(request, receive)
            await self._app(scope, body, started)
        except Exception as exc:  # the last place that can answer
            if started.yes:
                raise
            problem = problems.problem_of(exc)
            if problem.status == 500:
                problems.log.error("%s %s", request.method, request.url.path, exc_info=exc)
            await problems.answer(request, problem)(scope, receive, started)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, _method(scope), str(status)).inc()
            self._metrics.request_seconds.labels(route).observe(time.perf_counter() - began)

    def _refuse(self, request: Request) -> None:
        if not guard.is_our_host(request.headers.get("host", ""), self._hosts):
            raise Problem(421, "unknown-host", "this host is not served; name it (--allow-host)")
        if request.method not in guard.SAFE and guard.is_foreign(request.headers):
            raise Problem(403, "other-site", "this request came from another site")

    async def _body(self, request: Request, receive: Receive) -> Receive:
        """The whole body, read within bounds, then whatever else comes."""
        most = self._long_body.get(request.url.path, self._max_body)
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()) or int(length[:19]) > most:
            raise _too_large(most)
        if length == "0" and "transfer-encoding" not in request.headers:
            return receive
        parts: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(BODY_S):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(400, "malformed", "the body ended early")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    more = message.get("more_body", False)
                    if size > most:
                        raise _too_large(most)
        except TimeoutError as exc:
            raise Problem(408, "slow-body", f"the body took longer than {BODY_S} s") from exc
        body = b"".join(parts)
        if depth(body) > MOST_DEPTH:
            raise Problem(400, "malformed", f"the body is nested deeper than {MOST_DEPTH}")
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        return again


class _Started:
    """Passes messages on and knows whether the answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send, self.yes = send, False

    async def __call__(self, message: Message) -> None:
        self.yes = True
        await self._send(message)


def depth(body: bytes) -> int:
    """How deeply brackets are nested outside texts; parsers stop with an error at about 1000."""
    deepest = now = 0
    for bracket in _BRACKETS.findall(_TEXTS.sub(b"", body)):
        now += 1 if bracket in b"[{" else -1
        deepest = max(deepest, now)
    return deepest


def _add_headers(message: Message, token: str | None) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in guard.HEADERS.items():
        headers.setdefault(name, value)
    if token is not None and headers.get("content-type", "").startswith("text/html"):
        headers.append("set-cookie", f"{guard.CSRF}={token}; Path=/; HttpOnly; SameSite=strict")


def _too_large(most: int) -> Problem:
    return Problem(
        413, "too-large", f"the body may have {most} bytes", headers={"Connection": "close"}
    )


def _method(scope: Scope) -> str:
    """The method as a label: what a client makes up is not one."""
    known = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
    return scope["method"] if scope["method"] in known else "other"
