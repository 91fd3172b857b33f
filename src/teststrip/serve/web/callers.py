"""Who asks: a key in the Authorization header, or a session that was opened with one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import Response
from fastapi.security import HTTPBearer

from teststrip.serve.jobs.job import PRIORITIES, Priority
from teststrip.serve.web.keys import SCOPES, Key, Scope
from teststrip.serve.web.problems import Problem

COOKIE = "teststrip_service"
SESSION_S = 7 * 86400
MAKES: Mapping[Scope, Priority] = {"people": "people", "generate": "api", "study": "sweep"}
bearer = HTTPBearer(auto_error=False, description="An API key: `teststrip service keys add`")


@dataclass(frozen=True)
class Caller:
    """Whoever asks. Zeros: no limit. `is_local`: this machine, where no keys are asked for."""

    id: str
    name: str
    scopes: frozenset[Scope]
    per_minute: int = 0
    images_per_day: int = 0
    max_queued: int = 0
    is_local: bool = False

    def may(self, scope: Scope) -> bool:
        """Has it this scope?"""
        return scope in self.scopes

    def needs(self, *scopes: Scope) -> None:
        """Raises Problem 403 unless it has one of these."""
        if not self.scopes & set(scopes):
            raise Problem(
                403, "forbidden", f"the key {self.name!r} lacks the scope {' or '.join(scopes)}"
            )

    @property
    def priorities(self) -> tuple[Priority, ...]:
        """Those it may ask for: the highest that its scopes give, and all below."""
        given = [PRIORITIES.index(MAKES[s]) for s in self.scopes if s in MAKES]
        return PRIORITIES[min(given) :] if given else ()

    @property
    def priority(self) -> Priority:
        """What its jobs get if they ask for none: `api`, or what is nearest to it."""
        able = self.priorities
        return "api" if "api" in able and self.may("generate") else able[0]


LOCAL = Caller("local", "this machine", frozenset(SCOPES), is_local=True)


def caller_of(key: Key) -> Caller:
    """A key's holder."""
    return Caller(
        key.id, key.name, frozenset(key.scopes), key.per_minute, key.images_per_day, key.max_queued
    )


async def find_caller(request: Request) -> Caller | None:
    """Who asks, or None: no key, a wrong one, a session that is over."""
    keys = request.app.state.keys
    if keys is None:
        return LOCAL
    await keys.refresh()
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind:
        key = keys.find(secret.strip()) if kind.lower() == "bearer" else None
        return caller_of(key) if key else None
    who, _, signature = request.cookies.get(COOKIE, "").partition(":")
    if signature and request.app.state.signer.check("session", who, signature):
        key = keys.by_id(who)
        return caller_of(key) if key else None
    return None


async def caller(request: Request, _: Annotated[Any, Depends(bearer)]) -> Caller:
    """Dependency of every route that needs a caller. Raises Problem 401."""
    found = await find_caller(request)
    if found is None:
        raise Problem(
            401,
            "no-key",
            "an API key is needed: Authorization: Bearer <key>; the one given is missing, wrong "
            "or revoked",
            headers={"WWW-Authenticate": "Bearer"},
        )
    request.state.caller = found
    return found


def open_session(request: Request, response: Response, who: Caller) -> None:
    """Set the cookie with which a browser goes on as `who`; a revoked key ends its sessions."""
    signature = request.app.state.signer.sign("session", who.id, SESSION_S)
    response.set_cookie(
        COOKIE,
        f"{who.id}:{signature}",
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def close_session(response: Response) -> None:
    """Forget the cookie."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
