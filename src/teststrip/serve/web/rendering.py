"""Templates of the page; text is escaped by Jinja, always."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment

from teststrip import __version__, templates
from teststrip.serve.web import views


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates, once."""
    return templates.environment("teststrip.serve.web", version=__version__)


def link(request: Request, path: str, **query: Any) -> str:
    """An address of ours that also holds below a sub-path; query values of None are left out."""
    kept = {k: v for k, v in query.items() if v is not None}
    return views.root(request) + path + (f"?{urlencode(kept)}" if kept else "")


def html(
    request: Request,
    template: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> HTMLResponse:
    """A page or a part of one; templates also get `link` and `csrf` (the token of forms)."""

    def own(path: str, **query: Any) -> str:
        return link(request, path, **query)

    text = (
        environment()
        .get_template(template)
        .render(link=own, csrf=request.state.csrf, who=request.scope.get("who"), **values)
    )
    sent = {"Cache-Control": "private, no-store"} | dict(headers or {})
    return HTMLResponse(text, status_code=status, headers=sent)


def unless_known(request: Request, response: HTMLResponse) -> Response:
    """The answer with an ETag of its content; 304 where the browser shows just that."""
    tag = f'"{hashlib.sha256(response.body).hexdigest()[:20]}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return response


def is_part(request: Request) -> bool:
    """Does our script ask, which wants a part of the page?"""
    return request.headers.get("x-part") == "1"


def static_folder() -> str:
    """Where the page's scripts and styles lie."""
    return str(resources.files("teststrip.serve.web") / "static")
