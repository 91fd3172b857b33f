"""Faults as OpenAI tells them: an object `error` with message, type, param and code; its words."""

import secrets
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from teststrip.serve.web.problems import Problem

REQUEST_ID = "x-request-id"
RETRY = "x-should-retry"  # the official clients obey it
INVALID = "invalid_request_error"
# problem's kind -> (status, type, code); other kinds keep their status
KINDS: Mapping[str, tuple[int, str, str | None]] = {
    "wrong-input": (400, INVALID, "invalid_value"),
    "malformed": (400, INVALID, None),
    "key-reused": (422, "idempotency_error", "idempotency_key_reused"),
    "forbidden": (403, INVALID, "insufficient_permissions"),
    "rate-limited": (429, "requests", "rate_limit_exceeded"),
    "too-many-queued": (429, "requests", "rate_limit_exceeded"),
    "queue-full": (503, "server_error", "slow_down"),
    "queue-refused": (503, "server_error", "slow_down"),
}
# fields of a recipe -> what they are called here
PARAMS = {
    "changes.steps": "num_inference_steps",
    "changes.guidance": "guidance_scale",
    "changes.width": "size",
    "changes.height": "size",
    "steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "width, height": "size",
    "width": "size",
    "height": "size",
    "recipe": "model",
    "seeds": "n",
}
JSON_HINT = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using "
    "your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not "
    "valid JSON.)"
)


class OpenAIFault(Problem):
    """A fault that knows its parameter and code."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        retry: bool | None = None,
    ) -> None:
        headers = {} if retry is None else {RETRY: str(retry).lower()}
        super().__init__(status, kind, message, headers=headers)
        self.param, self.code = param, code

    @property
    def error(self) -> dict[str, Any]:
        """What stands under `error`."""
        return {
            "message": _sendable(self.detail),
            "type": self.kind,
            "param": _sendable(self.param) if self.param else None,
            "code": self.code,
        }


def as_openai(request: Request, problem: Problem) -> OpenAIFault:
    """Any problem in OpenAI's words."""
    if isinstance(problem, OpenAIFault):
        return problem
    found = _words(request, problem)
    found.headers = problem.headers | found.headers
    return found


def tell(request: Request, problem: Problem) -> Response:
    """The answer for a fault on a path below /v1."""
    fault = as_openai(request, problem)
    headers = {REQUEST_ID: request_id(), **fault.headers}
    return JSONResponse({"error": fault.error}, fault.status, headers)


def request_id(key: str | None = None) -> str:
    """A name for a request; that of a job's key where there is one."""
    return f"req_{key or secrets.token_hex(16)}"


def _words(request: Request, problem: Problem) -> OpenAIFault:
    status, kind, code = KINDS.get(problem.kind, (problem.status, INVALID, None))
    message = "; ".join(problem.faults) or problem.detail
    param = None
    if problem.kind == "malformed" and any("JSON" in fault for fault in problem.faults):
        message = JSON_HINT
    elif problem.kind == "no-key":
        return _no_key(request)
    elif problem.status == 404:
        message = f"Invalid URL ({request.method} {request.url.path})"
    elif problem.status == 405:
        message = f"Not allowed to {request.method} on {request.url.path}."
    elif problem.status >= 500:
        kind = "server_error"
    elif problem.kind == "wrong-input" and problem.faults:
        param = _param(problem.faults[0])
    return OpenAIFault(status, message, kind=kind, param=param, code=code)


def _sendable(text: str) -> str:
    """Half a surrogate cannot be sent; nor need anybody read a thousand characters."""
    return text.encode("utf-8", "backslashreplace").decode()[:1000]


def _param(fault: str) -> str | None:
    name = fault.partition(":")[0]
    plain = name.removeprefix("changes.")
    return PARAMS.get(name) or PARAMS.get(plain) or (plain if plain.isidentifier() else None)


def _no_key(request: Request) -> OpenAIFault:
    given = request.headers.get("authorization", "").partition(" ")[2].strip()
    if not given:
        return OpenAIFault(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization "
            "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    shown = given if len(given) < 8 else f"{given[:3]}{'*' * 8}{given[-4:]}"
    shown = shown if len(given) >= 16 else "*" * len(given)
    return OpenAIFault(
        401,
        f"Incorrect API key provided: {shown}. Keys of this service are made by its operator: "
        "teststrip service keys add NAME.",
        code="invalid_api_key",
    )
