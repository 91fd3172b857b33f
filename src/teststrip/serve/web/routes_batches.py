"""/api/batches: many jobs in one request; all are checked before the first is accepted."""

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request

from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.state.base import Created
from teststrip.serve.web import accepting, limits, views
from teststrip.serve.web.callers import Caller
from teststrip.serve.web.problems import Problem, told
from teststrip.serve.web.routes_jobs import IdempotencyKey, Who, needs_json, parts_of, trace_of
from teststrip.serve.web.schemas import Batch, BatchAnswer

router = APIRouter(tags=["jobs"])
AT_ONCE = 32
BREATH = 50  # wishes that are checked before others have their turn


@router.post(
    "/api/batches",
    status_code=202,
    summary="Ask for pictures of many wishes",
    dependencies=[Depends(needs_json)],
    response_model=BatchAnswer,
    responses=told(400, 401, 403, 413, 415, 422, 429, 503),
)
async def post_batch(
    request: Request, batch: Batch, who: Who, idempotency_key: IdempotencyKey = None
) -> BatchAnswer:
    """Many jobs. With an Idempotency-Key, wish k has the key `<key>/k` unless it has its own.

    All or none where a wish is wrong or a limit is passed; where the queue refuses some, the
    others are accepted and each entry says which.
    """
    records = await _records(request, batch, who, idempotency_key)
    gate = asyncio.Semaphore(AT_ONCE)
    parts = parts_of(request)

    async def known(record: JobRecord) -> bool:
        async with gate:
            return await parts.state.get(record.key) is not None

    repeated = [False] * len(records)
    if idempotency_key is not None or any(wish.idempotency_key for wish in batch.jobs):
        repeated = await asyncio.gather(*map(known, records))
    fresh = [record for record, is_known in zip(records, repeated, strict=True) if not is_known]
    if fresh:
        images = sum(len(record.seeds) for record in fresh)
        await limits.check(parts, who, images, len(fresh))

    async def queued(record: JobRecord) -> Created | Exception:
        async with gate:
            try:
                return await accepting.queue(parts, record)
            except Problem as exc:
                return exc

    answers = await asyncio.gather(*map(queued, records))
    problems = [one for one in answers if isinstance(one, Exception)]
    if len(problems) == len(answers):
        raise problems[0]
    return BatchAnswer(jobs=[_entry(request, one) for one in answers])


async def _records(
    request: Request, batch: Batch, who: Caller, batch_key: str | None
) -> list[JobRecord]:
    """All records, or Problem 422 with the faults of every wish."""
    parts = parts_of(request)
    if len(batch.jobs) > parts.config.max_batch:
        raise Problem(422, "wrong-input", f"jobs: at most {parts.config.max_batch} in a batch")
    records, faults = [], []
    for number, wish in enumerate(batch.jobs):
        key = wish.idempotency_key or (None if batch_key is None else f"{batch_key}/{number}")
        try:
            records.append(
                await accepting.fixed(
                    parts, request.app.state.catalog, who, wish, key, trace_of(request)
                )
            )
        except Problem as exc:
            if exc.status != 422:
                raise
            faults += [f"jobs.{number}.{fault}" for fault in exc.faults or [exc.detail]]
        if number % BREATH == 0:
            await asyncio.sleep(0)
    if faults:
        raise Problem(
            422, "wrong-input", f"nothing was accepted: {len(faults)} faults", faults=faults
        )
    return records


def _entry(request: Request, one: Created | Exception) -> dict[str, Any]:
    if isinstance(one, Created):
        record = one.record
        return {
            "id": record.id,
            "state": record.state,
            "url": views.job_url(request, record),
            "is_new": one.is_new,
        }
    return {"problem": one.body.model_dump() if isinstance(one, Problem) else str(one)}
