"""Templates and links. Every page extends `base.html`; text is escaped by Jinja, always."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment

from teststrip import __version__, templates
from teststrip.studio.parts import Parts

NAV = (
    ("home", "Studies", "/"),
    ("wall", "Wall", "/wall"),
    ("compare", "Compare", "/compare"),
    ("findings", "Evidence", "/findings"),
    ("rate", "Rate", "/rate"),
    ("live", "Live", "/live"),
    ("playground", "Playground", "/playground"),
    ("runs", "Runs", "/runs"),
)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates of this room, once."""
    return templates.environment("teststrip.studio", nav=NAV, version=__version__)


def parts(request: Request) -> Parts:
    """What the app was made of; for `Depends`."""
    found: Parts = request.app.state.parts
    return found


def link(request: Request) -> Callable[..., str]:
    """`link("/wall", study="demo")` -> an address that also holds in a sub-path.

    Names with None are left out; a list gives its name several times.
    """
    root = str(request.scope.get("root_path", "")).rstrip("/")

    def make(path: str, **query: Any) -> str:
        kept = {k: v for k, v in query.items() if v is not None}
        return root + path + (f"?{urlencode(kept, doseq=True)}" if kept else "")

    return make


def render(
    request: Request,
    template: str,
    *,
    page: str,
    study: str | None = None,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    templates: Environment | None = None,
    **values: Any,
) -> HTMLResponse:
    """A page or a part of one. `page`: which link of the navigation it is under; `study`: by name.

    `templates`: an environment of the room's own (else `environment()`).
    Templates also get `link`, `csrf` (the token of forms), `here` and `partial` (asked by htmx).
    """
    text = (
        (templates or environment())
        .get_template(template)
        .render(
            page=page,
            study=study,
            link=link(request),
            csrf=request.state.csrf,
            here=request.url.path,
            partial=request.headers.get("HX-Request") == "true",
            **values,
        )
    )
    return HTMLResponse(text, status_code=status, headers=dict(headers or {}))


def static_folder() -> str:
    """Where scripts, styles and fonts lie."""
    return str(resources.files("teststrip.studio") / "static")
