"""create_app: the pages put together, errors told as pages, long-lived caching of static files."""

import logging
from collections.abc import Sequence

from fastapi import Depends, FastAPI, Form, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from teststrip.errors import ConfigError, StorageError, StudyError, TeststripError
from teststrip.studio import pages, security
from teststrip.studio.parts import Parts
from teststrip.templates import LOOK

log = logging.getLogger(__name__)
STATUS: tuple[tuple[type[Exception], int], ...] = (
    (ConfigError, 422),
    (StudyError, 404),
    (StorageError, 503),
)


def create_app(parts: Parts, *, hosts: Sequence[str] = (), password: str | None = None) -> FastAPI:
    """The studio. `hosts`: names it answers to besides localhost. The server sets a sub-path."""
    from teststrip.studio.rooms import routers

    app = FastAPI(
        title="Teststrip studio",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(security.form_token)],
    )
    app.state.parts = parts
    app.add_middleware(security.Guard, hosts=hosts, password=password)
    static = StaticFiles(directory=pages.static_folder(), packages=LOOK)
    app.mount("/static", static, name="static")
    for router in routers():
        app.include_router(router)
    app.add_api_route("/login", _login_page, methods=["GET"])
    app.add_api_route("/login", _log_in, methods=["POST"])
    app.add_api_route("/healthz", lambda: {"status": "ok"}, methods=["GET"])
    app.add_exception_handler(TeststripError, _told)
    app.add_exception_handler(HTTPException, _told)
    app.add_exception_handler(Exception, _told)
    return app


def _login_page(request: Request) -> Response:
    return pages.render(request, "login.html", page="login", wrong=False)


def _log_in(request: Request, password: str = Form(max_length=1000)) -> Response:
    session = request.state.log_in(password)
    if session is None:
        return pages.render(request, "login.html", page="login", wrong=True, status=401)
    response = RedirectResponse(pages.link(request)("/"), 303)
    response.set_cookie(security.SESSION, session, httponly=True, samesite="strict")
    return response


async def _told(request: Request, exc: Exception) -> Response:
    """One clear message, as a page or as JSON; never a traceback."""
    if isinstance(exc, HTTPException):
        status, message = exc.status_code, str(exc.detail)
    else:
        status = next((code for kind, code in STATUS if isinstance(exc, kind)), 500)
        message = (
            str(exc) if isinstance(exc, TeststripError) else "an unexpected error; see the log"
        )
    if status == 500:
        log.error("%s %s", request.method, request.url.path, exc_info=exc)
    if "text/html" not in request.headers.get("accept", "") or not hasattr(request.state, "csrf"):
        return JSONResponse({"error": message}, status)
    return pages.render(
        request, "error.html", page="error", status=status, message=message, code=status
    )
