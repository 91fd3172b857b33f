"""Problem details (RFC 9457): every fault of the API has one shape; the only table of statuses.

Routers may tell faults of their own paths in another shape (OpenAI's, a page): they register a
teller with `tell_by`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from teststrip.errors import ConfigError, ModelError, StorageError, TeststripError

log = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MOST_FAULTS, MOST_CHARS = 50, 300
RETRY_AFTER_S = 5


class ProblemBody(BaseModel):
    """A fault: what is wrong, in words for a person (`detail`, `faults`) and a program (`type`)."""

    type: str = Field(examples=["urn:teststrip:wrong-input"])
    title: str
    status: int
    detail: str
    faults: list[str] = Field(default_factory=list, description="one line for each fault found")


class Problem(Exception):  # noqa: N818 - the word of RFC 9457
    """Ends a request with this answer. `kind` names the fault: `urn:teststrip:<kind>`."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        faults: Sequence[str] = (),
        retry_s: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.faults = [_short(fault) for fault in faults[:MOST_FAULTS]]
        self.headers = dict(headers or {})
        if retry_s is not None:
            self.headers["Retry-After"] = str(max(1, round(retry_s + 0.499)))

    @property
    def body(self) -> ProblemBody:
        """What is sent."""
        return ProblemBody(
            type=f"urn:teststrip:{self.kind}",
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=_short(self.detail, 1000),
            faults=self.faults,
        )


Teller = Callable[[Request, Problem], Response]


def tell_by(app: FastAPI, prefix: str, teller: Teller) -> None:
    """Faults of paths that begin with `prefix` are told by `teller`; the longest prefix wins."""
    app.state.tellers[prefix] = teller


def install(app: FastAPI) -> None:
    """Every exception of this app becomes an answer from here on."""
    app.state.tellers = {}
    for kind in (Problem, TeststripError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, exc: Exception) -> Response:
    problem = problem_of(exc)
    if problem.status == 500:
        log.error("%s %s", request.method, request.url.path, exc_info=exc)
    return answer(request, problem)


def answer(request: Request, problem: Problem) -> Response:
    """The problem in the shape of this path."""
    tellers: dict[str, Teller] = request.app.state.tellers
    fitting = [prefix for prefix in tellers if request.url.path.startswith(prefix)]
    if fitting:
        return tellers[max(fitting, key=len)](request, problem)
    return as_json(problem)


def as_json(problem: Problem) -> Response:
    """The problem as problem+json."""
    return JSONResponse(
        problem.body.model_dump(), problem.status, problem.headers, media_type=MEDIA_TYPE
    )


def problem_of(exc: Exception) -> Problem:  # noqa: PLR0911 - one line for each kind
    """Which problem an exception is: the only table from errors to statuses."""
    if isinstance(exc, Problem):
        return exc
    if isinstance(exc, RequestValidationError):
        faults = [_fault(fault) for fault in exc.errors()]
        if any("JSON" in fault for fault in faults):
            return Problem(400, "malformed", "the body is not JSON", faults=faults)
        return Problem(422, "wrong-input", _count(faults), faults=faults)
    if isinstance(exc, ConfigError):
        return Problem(422, "wrong-input", exc.what, faults=exc.faults)
    if isinstance(exc, StorageError):  # its words name hosts: they are for the log
        log.warning("a part of the service is away: %s", exc)
        return Problem(
            503,
            "part-away",
            "a part of the service cannot be reached now; try again",
            retry_s=RETRY_AFTER_S,
        )
    if isinstance(exc, ModelError):
        return Problem(422, "wrong-input", str(exc))
    if isinstance(exc, HTTPException):
        kind = HTTPStatus(exc.status_code).phrase.lower().replace(" ", "-")
        return Problem(exc.status_code, kind, str(exc.detail), headers=exc.headers)
    return Problem(500, "unexpected", "an unexpected error; the service's log has it")


def _fault(error: Mapping[str, Any]) -> str:
    """`where: what (got ...)` for one of pydantic's errors."""
    where = [str(part) for part in error["loc"] if part not in {"body", "query", "path", "header"}]
    if error["type"] == "json_invalid":
        return f"not JSON: {error.get('ctx', {}).get('error', error['msg'])}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "unknown field; remove it or mend its spelling"
    got = repr(error.get("input"))
    got = got if len(got) <= 80 else got[:77] + "..."
    return f"{'.'.join(where) or '(whole)'}: {message}" + (
        "" if got in message else f" (got {got})"
    )


def _count(faults: Sequence[str]) -> str:
    return "the request has " + ("a fault" if len(faults) == 1 else f"{len(faults)} faults")


def _short(text: str, most: int = MOST_CHARS) -> str:
    text = text.encode("utf-8", "backslashreplace").decode()  # half a surrogate cannot be sent
    return text if len(text) <= most else text[: most - 3] + "..."


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": words,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
    }
    for status, words in {
        400: "Malformed body",
        401: "No key, or a wrong one",
        403: "The key may not do this",
        404: "No such job, or not yours",
        405: "Not with this method",
        410: "Expired: its pictures are deleted",
        413: "Body too large",
        415: "The body must be application/json",
        422: "Wrong input; `faults` lists every fault",
        429: "Over a limit of the key; Retry-After says when to come back",
        503: "The queue is full or a part is away; Retry-After says when to come back",
    }.items()
}


def told(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Entries for a route's `responses`."""
    return {status: RESPONSES[status] for status in statuses}
