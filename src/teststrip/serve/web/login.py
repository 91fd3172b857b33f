"""/login: an API key opens a session of the page; and who may see or change what on it."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import RedirectResponse, Response

from teststrip import guard
from teststrip.serve.web import callers, rendering
from teststrip.serve.web.callers import Caller
from teststrip.serve.web.problems import Problem

FAILED_S = 0.5
router = APIRouter(include_in_schema=False)


async def visitor(request: Request) -> Caller:
    """Dependency of every page. Raises Problem 401, which leads to /login."""
    found = await callers.find_caller(request)
    if found is None:
        raise Problem(401, "no-key", "enter with an API key first")
    request.scope["who"] = found
    return found


async def form_token(request: Request) -> None:
    """What changes something holds our token: form field `csrf`, or a header. Raises Problem."""
    given = request.headers.get("x-csrf-token")
    if given is None and "form" in request.headers.get("content-type", ""):
        given = str((await request.form()).get("csrf", ""))
    if not guard.is_token(given, request.cookies):
        raise Problem(403, "old-form", "the form is too old or not ours; load the page again")


Visitor = Annotated[Caller, Depends(visitor)]
OurForm = Depends(form_token)


@router.get("/login")
async def login_page(request: Request) -> Response:
    """The form; nothing to do where no key is asked for."""
    if request.app.state.keys is None:
        return RedirectResponse(rendering.link(request, "/"), 303)
    return rendering.html(request, "login.html", wrong=False)


@router.post("/login", dependencies=[OurForm])
async def log_in(request: Request, key: Annotated[str, Form(max_length=200)] = "") -> Response:
    """A session for the right key."""
    keys = request.app.state.keys
    if keys is None:
        return RedirectResponse(rendering.link(request, "/"), 303)
    await keys.refresh()
    found = keys.find(key.strip())
    if found is None:
        await asyncio.sleep(FAILED_S)
        return rendering.html(request, "login.html", 401, wrong=True)
    response = RedirectResponse(rendering.link(request, "/"), 303)
    callers.open_session(request, response, callers.caller_of(found))
    return response


@router.post("/logout", dependencies=[OurForm])
async def log_out(request: Request) -> Response:
    """The session ends in this browser."""
    response = RedirectResponse(rendering.link(request, "/login"), 303)
    callers.close_session(response)
    return response
