"""/api/jobs: make, see, list and cancel jobs."""

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response

from teststrip.serve.jobs.states import State
from teststrip.serve.operate import webhooks
from teststrip.serve.operate.ending import tell_ended
from teststrip.serve.parts import Parts
from teststrip.serve.web import accepting, views
from teststrip.serve.web.callers import Caller, caller
from teststrip.serve.web.finding import find, find_record
from teststrip.serve.web.problems import Problem, told
from teststrip.serve.web.schemas import JobList, JobView, Recovering, Wish

router = APIRouter(tags=["jobs"])
Who = Annotated[Caller, Depends(caller)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=accepting.MOST_KEY_CHARS,
        description="The same key with the same body is the same job; with another body 422.",
    ),
]
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
POLLED: dict[str, Any] = {
    "ETag": {"schema": {"type": "string"}, "description": "for If-None-Match"},
    "Retry-After": {"schema": {"type": "integer"}, "description": "seconds until the next look"},
}


def parts_of(request: Request) -> Parts:
    """The parts of this app."""
    found: Parts = request.app.state.parts
    return found


async def needs_json(request: Request) -> None:
    """Raises Problem 415: a form of another site can send everything but this content type."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, "not-json", "the body must be application/json")


def trace_of(request: Request) -> dict[str, str]:
    """The caller's W3C trace context, where it sent one."""
    given = request.headers.get("traceparent", "")
    return {"traceparent": given} if _TRACEPARENT.fullmatch(given) else {}


@router.post(
    "/api/jobs",
    status_code=202,
    summary="Ask for pictures",
    dependencies=[Depends(needs_json)],
    responses={
        202: {
            "model": JobView,
            "description": "Accepted: it is safe in the queue",
            "headers": POLLED | {"Location": {"schema": {"type": "string"}}},
        },
        200: {"model": JobView, "description": "This Idempotency-Key's job, accepted before"},
        **told(400, 401, 403, 413, 415, 422, 429, 503),
    },
)
async def post_job(
    request: Request, wish: Wish, who: Who, idempotency_key: IdempotencyKey = None
) -> Response:
    """One job: a prompt or a product, a recipe, one or more seeds."""
    created = await accepting.take(
        parts_of(request),
        request.app.state.catalog,
        who,
        wish,
        idempotency_key,
        trace_of(request),
    )
    headers = {"Location": views.job_url(request, created.record)}
    if not created.is_new:
        headers["Idempotent-Replayed"] = "true"
    return await views.told(request, created.record, 202 if created.is_new else 200, headers)


@router.get("/api/jobs", response_model=JobList, responses=told(401, 422, 503))
async def list_jobs(  # noqa: PLR0917 - a query's fields
    request: Request,
    who: Who,
    state: State | None = None,
    cursor: Annotated[str, Query(max_length=200, pattern=r"^[A-Za-z0-9._:=-]*$")] = "",
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    everybody: Annotated[bool, Query(description="also others' jobs: scope admin")] = False,
) -> JobList:
    """Your jobs, newest first."""
    if everybody:
        who.needs("admin")
    owner = None if everybody else who.id
    records, following = await parts_of(request).state.page(owner, state, cursor, limit)
    shown = [(await views.view(request, record))[0] for record in records]
    return JobList(jobs=shown, next=following or None)


@router.get(
    "/api/jobs/{job_id}",
    responses={
        200: {"model": JobView | Recovering, "headers": POLLED},
        304: {"description": "Unchanged since the ETag in If-None-Match"},
        **told(401, 404, 410, 503),
    },
)
async def get_job(request: Request, job_id: str, who: Who) -> Response:
    """One job: its state, place, progress, pictures."""
    record = await find(parts_of(request), who, job_id)
    if isinstance(record, Recovering):
        record.url = f"{views.root(request)}{record.url}"
        return Response(
            record.model_dump_json(),
            headers={"Retry-After": "5", "Cache-Control": "no-store"},
            media_type="application/json",
        )
    return await views.told(request, record)


@router.post(
    "/api/jobs/{job_id}/cancel",
    responses={
        200: {"model": JobView, "description": "Ended"},
        202: {"model": JobView, "description": "Its worker stops at the next step"},
        **told(401, 403, 404, 410, 503),
    },
)
@router.delete(
    "/api/jobs/{job_id}",
    responses={
        200: {"model": JobView, "description": "Ended"},
        202: {"model": JobView, "description": "Its worker stops at the next step"},
        **told(401, 403, 404, 410, 503),
    },
)
async def cancel_job(request: Request, job_id: str, who: Who) -> Response:
    """Stop a job; pictures that are finished stay. One that ended is left as it is."""
    record = await find_record(parts_of(request), who, job_id)
    if not record.is_ended:
        await webhooks.note(parts_of(request).state, record)  # told when it has ended
        record = await parts_of(request).state.ask_cancel(record.key) or record
        if record.is_ended:  # its message is still in the queue: should the state be lost,
            await tell_ended(parts_of(request), record)  # a worker finds here that it is over
    return await views.told(request, record, 200 if record.is_ended else 202)
