"""A record as the API shows it, with its ETag and when to ask again."""

import math

from fastapi import Request
from fastapi.responses import Response

from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.web.eta import Etas, Place
from teststrip.serve.web.schemas import ImageView, JobView, Progress

SLOWEST_POLL_S = 30


def root(request: Request) -> str:
    """What our paths begin with where a proxy serves us below its own."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def job_url(request: Request, record: JobRecord) -> str:
    """Path of a job."""
    return f"{root(request)}/api/jobs/{record.id}"


async def view(request: Request, record: JobRecord) -> tuple[JobView, Place]:
    """The job as it is told, and its place."""
    etas: Etas = request.app.state.etas
    place = await etas.place(record)
    url = job_url(request, record)
    have = {image.index for image in record.images}
    return (
        JobView(
            id=record.id,
            state=record.state,
            priority=record.priority,
            prompt=record.prompt,
            recipe_name=record.recipe_name,
            recipe=record.recipe,
            recipe_id=record.recipe.recipe_id,
            champion=record.champion,
            seeds=list(record.seeds),
            labels=record.labels,
            progress=Progress(calls_done=record.calls_done, calls_total=record.calls_total),
            position=place.position,
            eta_s=None if place.eta_s is None else round(place.eta_s, 2),
            images=[
                ImageView(
                    index=image.index,
                    seed=image.seed,
                    url=f"{url}/images/{image.index}.png",
                    sha256=image.sha256,
                    bytes=image.bytes,
                    facts=image.facts,
                )
                for image in record.images
            ],
            previews=[
                f"{url}/previews/{k}.webp"
                for k in range(len(record.seeds))
                if record.state == "running" and k not in have
            ],
            reason=record.reason,
            accepted=record.accepted,
            started=record.started,
            ended=record.ended,
            expires=record.expires,
            url=url,
            cancel_url=f"{url}/cancel",
        ),
        place,
    )


def etag(record: JobRecord, place: Place) -> str:
    """Changes with the record and with its place in the queue."""
    return f'W/"{record.version}-{record.state}-{place.position}"'


def retry_s(record: JobRecord, place: Place) -> int:
    """When it is worth asking again: a quarter of what is left, 1 to 30 s."""
    if place.eta_s is None:
        return 2 if record.state == "running" else 5
    return max(1, min(SLOWEST_POLL_S, math.ceil(place.eta_s / 4)))


async def told(
    request: Request, record: JobRecord, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """The answer for one job: 304 where the client has this version already."""
    shown, place = await view(request, record)
    sent = {"ETag": etag(record, place), "Cache-Control": "private, no-cache"} | (headers or {})
    if not record.is_ended:
        sent["Retry-After"] = str(retry_s(record, place))
    if status == 200 and _has(request, sent["ETag"]):
        return Response(status_code=304, headers=sent)
    return Response(shown.model_dump_json(), status, sent, media_type="application/json")


def _has(request: Request, tag: str) -> bool:
    given = request.headers.get("if-none-match", "")
    return any(part.strip() in {tag, tag.removeprefix("W/")} for part in given.split(","))
