"""Who may ask the studio: this machine, or whoever knows the password; and from our own pages.

What every web app of ours asks of a request (host, site, form token, headers) is in
`teststrip.guard`.
"""

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence

from fastapi import HTTPException, Request
from fastapi.responses import Response
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.types import ASGIApp

from teststrip import guard
from teststrip.errors import ConfigError
from teststrip.guard import CSRF, SAFE, is_loopback

SESSION = "teststrip_session"
OPEN_PATHS = ("/login", "/static/", "/healthz")  # probes know no password
SHORTEST_PASSWORD = 12
MOST_SESSIONS, FAILED_LOGIN_S = 1000, 1.0
Next = Callable[[Request], Awaitable[Response]]


def check_bind(host: str, password: str | None) -> None:
    """Raises ConfigError for an open bind without a password, or a password that is too short."""
    if password is not None and len(password) < SHORTEST_PASSWORD:
        raise ConfigError(
            f"the studio's password has {len(password)} characters; at least {SHORTEST_PASSWORD} "
            "are accepted (TESTSTRIP_STUDIO_PASSWORD, or TESTSTRIP_STUDIO_PASSWORD_FILE)"
        )
    if password is None and not is_loopback(host):
        raise ConfigError(
            f"--host {host} lets other machines in; set TESTSTRIP_STUDIO_PASSWORD (or _FILE) "
            "first, or bind to 127.0.0.1"
        )


class Guard(BaseHTTPMiddleware):
    """Host, password, token and headers, before any page is asked."""

    def __init__(self, app: ASGIApp, *, hosts: Sequence[str], password: str | None) -> None:
        super().__init__(app)
        self._hosts = {h.lower() for h in hosts}
        self._password = password
        self._sessions: dict[str, None] = {}

    async def dispatch(self, request: Request, call_next: Next) -> Response:
        """Refuse, or pass on with `request.state.csrf` set."""
        token, fresh = guard.token_of(request.cookies)
        request.state.csrf = token
        request.state.log_in, request.state.needs_password = self._log_in, bool(self._password)
        refused = self._refused(request)
        response = refused if refused is not None else await call_next(request)
        for name, value in guard.HEADERS.items():
            response.headers.setdefault(name, value)
        if fresh:
            response.set_cookie(CSRF, token, httponly=True, samesite="strict")
        return response

    def _refused(self, request: Request) -> Response | None:
        if not guard.is_our_host(request.headers.get("host", ""), self._hosts):
            return Response("unknown host; name it with --allow-host", 421)
        path = request.url.path.removeprefix(str(request.scope.get("root_path", "")))
        if request.method not in SAFE and guard.is_foreign(request.headers):
            return Response("this request came from another site", 403)
        if self._password is None or path.startswith(OPEN_PATHS) or self._knows(request):
            return None
        if "text/html" in request.headers.get("accept", "") and request.method in SAFE:
            root = str(request.scope.get("root_path", "")).rstrip("/")
            return Response(status_code=303, headers={"Location": f"{root}/login"})
        return Response("password needed", 401, {"WWW-Authenticate": "Bearer"})

    def _knows(self, request: Request) -> bool:
        if request.cookies.get(SESSION, "") in self._sessions:
            return True
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self._is_right(given)

    def _is_right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._password or "").encode())

    def _log_in(self, given: str) -> str | None:
        """A new session for the right password; blocks a second (its thread) for a wrong one."""
        if not self._is_right(given):
            time.sleep(FAILED_LOGIN_S)
            return None
        while len(self._sessions) >= MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        return session


async def form_token(request: Request) -> None:
    """For every route: what changes something holds the token: a header, or form field `csrf`."""
    if request.method in SAFE:
        return
    given = request.headers.get("x-csrf-token")
    if given is None and "form" in request.headers.get("content-type", ""):
        given = str((await request.form()).get("csrf", ""))
    bearer = request.headers.get("authorization", "").lower().startswith("bearer ")
    if bearer and request.state.needs_password:  # no browser sends it by itself
        return
    if not guard.is_token(given, request.cookies):
        raise HTTPException(403, "the form is too old or not ours; load the page again")
