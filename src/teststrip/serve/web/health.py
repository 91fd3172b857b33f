"""/healthz, /readyz, /metrics: is it alive, can it work, what are its numbers."""

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from teststrip.errors import StorageError
from teststrip.guard import is_loopback
from teststrip.serve.web.callers import caller
from teststrip.serve.web.problems import told
from teststrip.serve.web.routes_jobs import parts_of

router = APIRouter(tags=["operation"])
CHECK_S = 3.0
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")


class Health(BaseModel):
    """The process answers."""

    status: str = "ok"


class Readiness(BaseModel):
    """`ok`: all is there. `degraded`: jobs are accepted, and wait. `away`: none are accepted."""

    status: str
    parts: dict[str, str]


@router.get("/healthz")
async def healthz() -> Health:
    """Alive; asks nobody else."""
    return Health()


@router.get(
    "/readyz",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "No job can be accepted now"}},
)
async def readyz(request: Request) -> Response:
    """Each part by name. Without store or worker jobs are still accepted, and wait."""
    parts = parts_of(request)
    broker, state, store, workers = await asyncio.gather(
        _is_ready(parts.queue.is_ready),
        _is_ready(parts.state.is_ready),
        _is_ready(parts.store.is_ready),
        _workers(request),
    )
    found = {
        "queue": "ok" if broker else "away",
        "state": "ok" if state else "away",
        "store": "ok" if store else "away",
        "engine": "ok" if workers else "no worker: jobs wait",
    }
    takes_jobs = broker and state
    status = "away" if not takes_jobs else "ok" if store and workers else "degraded"
    body = Readiness(status=status, parts=found).model_dump()
    headers = {"Cache-Control": "no-store"} | ({} if takes_jobs else {"Retry-After": "5"})
    return JSONResponse(body, 200 if takes_jobs else 503, headers)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **told(401, 403)},
)
async def metrics(request: Request) -> Response:
    """For Prometheus: this machine, or a key with the scope admin."""
    if not _is_this_machine(request):
        (await caller(request, None)).needs("admin")
    text = await asyncio.to_thread(parts_of(request).metrics.text)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _is_this_machine(request: Request) -> bool:
    """Asked from here, and by no proxy that runs here for others."""
    host = request.client.host if request.client else ""
    return is_loopback(host) and not any(name in request.headers for name in FORWARDED)


async def _is_ready(ask: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(CHECK_S):
            return await ask()
    except TimeoutError:
        return False


async def _workers(request: Request) -> int:
    try:
        async with asyncio.timeout(CHECK_S):
            return len(await parts_of(request).state.workers())
    except (TimeoutError, StorageError):
        return 0
