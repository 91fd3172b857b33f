"""/v1: OpenAI's Images API. Its official clients work unchanged."""

import contextlib
import json
import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel

from teststrip.serve.parts import Parts
from teststrip.serve.web import openai_answer, openai_body, openai_wish, problems
from teststrip.serve.web.callers import Caller, caller
from teststrip.serve.web.openai_body import ImagesBody
from teststrip.serve.web.openai_faults import JSON_HINT, REQUEST_ID, OpenAIFault, request_id, tell
from teststrip.serve.web.openai_watch import ClientGone, Watch
from teststrip.serve.web.routes_jobs import IdempotencyKey, needs_json

router = APIRouter(tags=["openai"], prefix="/v1")
Who = Annotated[Caller, Depends(caller)]


class Model(BaseModel):
    """A name that `model` may have."""

    id: str
    object: str = "model"
    created: int
    owned_by: str = "teststrip"


class Models(BaseModel):
    """All of them, the default first."""

    object: str = "list"
    data: list[Model]


class ErrorBody(BaseModel):
    """What a fault says."""

    message: str
    type: str
    param: str | None
    code: str | None


class Error(BaseModel):
    """A fault in OpenAI's shape."""

    error: ErrorBody


FAULTS: dict[int | str, dict[str, Any]] = {
    400: {"model": Error, "description": "Wrong input"},
    401: {"model": Error, "description": "No key, or a wrong one"},
    403: {"model": Error, "description": "The key may not do this"},
    404: {"model": Error, "description": "No such model"},
    413: {"model": Error, "description": "Body too large"},
    415: {"model": Error, "description": "The body must be application/json"},
    422: {"model": Error, "description": "Idempotency-Key used for another request"},
    429: {"model": Error, "description": "Over a limit of the key"},
    500: {"model": Error, "description": "The image could not be made"},
    503: {"model": Error, "description": "The queue is full or a part is away"},
    504: {"model": Error, "description": "Not finished in time; still being made"},
}


def install(app: FastAPI) -> None:
    """Add /v1 to the app. Needs `app.state.parts` and `problems.install`."""
    app.state.watch = Watch(app.state.parts)
    app.state.began = int(time.time())
    problems.tell_by(app, "/v1/", tell)
    app.include_router(router)


@router.get("/models", response_model=Models, responses={k: FAULTS[k] for k in (401, 503)})
async def list_models(request: Request, who: Who) -> JSONResponse:
    """Recipes and models by name; the first is the default."""
    state = request.app.state
    data = [
        Model(id=name, created=state.began)
        for name in await openai_wish.names(state.parts, state.catalog)
    ]
    return _told(Models(data=data).model_dump())


@router.get(
    "/models/{name:path}", response_model=Model, responses={k: FAULTS[k] for k in (401, 404, 503)}
)
async def get_model(request: Request, name: str, who: Who) -> JSONResponse:
    """One of them."""
    state = request.app.state
    if name not in await openai_wish.names(state.parts, state.catalog):
        raise openai_wish.no_model(name)
    return _told(Model(id=name, created=state.began).model_dump())


@router.post(
    "/images/generations",
    dependencies=[Depends(needs_json)],
    responses={
        200: {
            "description": "The images, or a stream of events",
            "content": {
                "application/json": {"schema": {"type": "object"}},
                "text/event-stream": {},
            },
        },
        **FAULTS,
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ImagesBody.model_json_schema()}},
        }
    },
)
async def generate(request: Request, who: Who, idempotency_key: IdempotencyKey = None) -> Response:
    """Images from a prompt, in one answer or as a stream with partial images."""
    parts: Parts = request.app.state.parts
    watch: Watch = request.app.state.watch
    body = openai_body.read(await _json(request))
    wish = await openai_wish.wish_of(parts, request.app.state.catalog, body)
    name = openai_wish.body_name(body)
    record = await watch.job_of(request, who, wish, name, idempotency_key)
    headers = {REQUEST_ID: request_id(record.key), "x-teststrip-job": record.id}
    is_kept = idempotency_key is not None
    records = watch.follow(request, who, record, is_kept=is_kept)
    if body.stream:
        headers |= {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        events = openai_answer.events(request, body, records)
        return StreamingResponse(events, headers=headers, media_type="text/event-stream")
    try:
        async with contextlib.aclosing(records):
            async for record in records:  # noqa: B007 - the last one counts
                pass
    except ClientGone:
        return Response(status_code=499)
    return _told(await openai_answer.whole(request, body, record), headers)


async def _json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError) as exc:
        raise OpenAIFault(400, JSON_HINT) from exc


def _told(content: dict[str, Any], headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(content, headers={REQUEST_ID: request_id(), **(headers or {})})
