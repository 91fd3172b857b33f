"""Thumbs: shown at once, kept until MLflow has them, counted for the version that made it."""

import json
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import Response
from pydantic import Field

from teststrip.recipe import Frozen
from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.web.callers import Caller, caller
from teststrip.serve.web.courier import OUTBOX, SHARE, Courier
from teststrip.serve.web.finding import find_record
from teststrip.serve.web.problems import Problem, told
from teststrip.serve.web.routes_jobs import needs_json, parts_of

THUMB = "thumb:"
OUTBOX_S = 30 * 86400  # a thumb that MLflow could not be told of in this time is forgotten
PER_S, BURST = 2.0, 100  # thumbs of one caller
Thumb = Literal["up", "down"]
VALUES: dict[Thumb | None, Literal[-1, 0, 1]] = {"up": 1, "down": -1, None: 0}
router = APIRouter(tags=["jobs"])


class Feedback(Frozen):
    """What a person thinks of a picture; null takes it back."""

    thumb: Thumb | None = Field(examples=["up"])


@router.post(
    "/api/jobs/{job_id}/images/{index}/feedback",
    status_code=204,
    summary="Thumb up or down",
    response_class=Response,
    dependencies=[Depends(needs_json)],
    responses=told(400, 401, 404, 410, 413, 415, 422, 429, 503),
)
async def post_feedback(
    request: Request,
    job_id: str,
    index: Annotated[int, Path(ge=0, le=63)],
    feedback: Feedback,
    who: Annotated[Caller, Depends(caller)],
) -> None:
    """Counted in MLflow for the recipe version that made the picture; the last word counts."""
    parts = parts_of(request)
    record = await find_record(parts, who, job_id)
    await rate(parts, who, record, index, feedback.thumb)
    ring(request)


def ring(request: Request) -> None:
    """Tell this process's courier that there is something to send."""
    courier: Courier = request.app.state.courier
    courier.bell.set()


async def rate(
    parts: Parts, who: Caller, record: JobRecord, index: int, thumb: Thumb | None
) -> None:
    """Keep a thumb for a finished picture. Raises Problem 404 for one that is not there, 429."""
    image = next((found for found in record.images if found.index == index), None)
    if image is None:
        raise Problem(404, "no-such-picture", f"this job has no finished picture {index}")
    allowed = await parts.state.take(f"feedback:{who.id}", 1, PER_S, BURST)
    if not allowed.ok:
        raise Problem(429, "rate-limited", "too many thumbs at once", retry_s=allowed.retry_s)
    now = time.time()
    # Its time is in the name: one that changes while it is sent is sent again.
    name = f"{OUTBOX}{record.key}:{index}:{int(now * 1e6)}"
    await parts.state.put(name, _rating(record, image, thumb, now), OUTBOX_S)
    shown = f"{THUMB}{record.key}:{index}"
    if thumb is None:
        await parts.state.drop(shown)
    else:
        await parts.state.put(shown, str(VALUES[thumb]).encode(), parts.config.result_ttl_s)


async def thumbs(parts: Parts, key: str) -> dict[int, int]:
    """The thumbs of a job's pictures: index -> 1 or -1."""
    found = await parts.state.things(f"{THUMB}{key}:")
    return {int(name.rpartition(":")[2]): int(value) for name, value in found.items()}


async def liked(parts: Parts, model: str, version: str) -> str:
    """How people rated what this version made, or "" where nobody did yet."""
    name = f"{SHARE}{model}:{version}"
    found = (await parts.state.things(name)).get(name)
    if found is None:
        return ""
    share = json.loads(found)
    count = share["up"] + share["down"]
    return f"People liked {share['up']} of its {count} rated pictures." if count else ""


def _served(record: JobRecord) -> dict[str, str]:
    if record.champion is not None:
        return {"model": record.champion.name, "version": record.champion.version}
    return {"model": f"recipe {record.recipe_name}", "version": record.recipe.recipe_id}


def _rating(record: JobRecord, image: Image, thumb: Thumb | None, at: float) -> bytes:
    """As `track.ratings.Rating` has it: JSON, for the web may have no MLflow."""
    row = {
        "served": _served(record),
        "job": record.key,
        "index": image.index,
        "person": record.owner,
        "thumb": VALUES[thumb],
        "at": at,
        "prompt": record.prompt,
        "seed": image.seed,
        "recipe_id": record.recipe.recipe_id,
        "recipe": record.recipe.model_dump(mode="json", exclude_defaults=True),
        "sha256": image.sha256,
    }
    return json.dumps(row, ensure_ascii=False).encode()
