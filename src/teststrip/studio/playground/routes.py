"""The playground's pages. Nothing here waits for a picture."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from teststrip.errors import ConfigError
from teststrip.noise import NOISE_NAMES, SIGMA_SUFFIXES
from teststrip.recipe import SPACINGS, Recipe
from teststrip.studio import pages
from teststrip.studio.playground import form, presets
from teststrip.studio.playground.desk import MOST_WAITING, Desk
from teststrip.studio.playground.job import Job

SHOWN = 12
FOR_GOOD = "private, max-age=31536000, immutable"
_making = threading.Lock()


@asynccontextmanager
async def ends_with_the_app(app: Any) -> AsyncIterator[None]:
    """The desk's thread and model go when the app does."""
    yield
    found: Desk | None = getattr(app.state, "playground", None)
    if found is not None:
        await run_in_threadpool(found.close)


router = APIRouter(prefix="/playground")


def desk(request: Request) -> Desk:
    """The app's one desk, made when the first page asks."""
    state = request.app.state
    with _making:
        if getattr(state, "playground", None) is None:
            parts = pages.parts(request)
            state.playground = Desk(parts.generator, parts.home)
    found: Desk = state.playground
    return found


@router.get("")
def page(  # noqa: PLR0917 - the address holds all of it
    request: Request,
    study: str | None = None,
    i: str | None = None,
    recipe: str | None = None,
    champion: Annotated[str | None, Query(max_length=200)] = None,
    job: str | None = None,
    model: Annotated[str | None, Query(max_length=500)] = None,
    seeds: Annotated[str | None, Query(max_length=400)] = None,
    older: int = 0,
) -> Response:
    """The form, filled in from a picture, a recipe, a champion, a job or defaults; and what was
    made."""
    parts = pages.parts(request)
    says, values = "", form.values_of(presets.default(model or "builtin"))
    if job:
        held = desk(request).job(job)
        values = form.values_of(held.recipe, held.prompt, seeds or form.seeds_text(held.seeds))
    elif champion or (study and (i or recipe)):
        if champion:
            preset = presets.of_champion(parts.home, champion)
        elif i:
            preset = presets.of_image(parts.index, parts.pictures, str(study), i)
        else:
            preset = presets.of_recipe(parts.index, str(study), str(recipe))
        start = "" if preset.seed is None else str(preset.seed)
        values = form.values_of(preset.recipe, preset.prompt, seeds or start or "0-3")
        says = preset.says
    return _page(request, form.Read(values), says=says, older=max(older, 0))


@router.post("")
async def submit(request: Request) -> Response:
    """Queue a job, or show the form again with everything that is wrong."""
    typed = await request.form(max_files=0, max_fields=40)
    read = form.read(typed)
    return await run_in_threadpool(_submit, request, read)


def _submit(request: Request, read: form.Read) -> Response:
    if read.wish is not None:
        try:
            job = desk(request).submit(read.wish)
        except ConfigError as exc:
            read.faults["queue"] = str(exc)
        else:
            return RedirectResponse(pages.link(request)("/playground", job=job.id) + "#made", 303)
    return _page(request, read, status=422)


@router.post("/fill")
async def fill(request: Request) -> Response:
    """The form with these texts in it; nothing is made."""
    read = form.read(await request.form(max_files=0, max_fields=40))
    return await run_in_threadpool(_page, request, form.Read(read.values))


@router.get("/jobs/{job_id}")
def job_part(request: Request, job_id: str) -> Response:
    """One job as part of a page, for polling: 304 while nothing changed."""
    at = desk(request)
    job = at.job(job_id)
    etag = job.etag
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return pages.render(
        request,
        "playground/job.html",
        page="playground",
        headers=headers,
        job=job,
        ahead=at.position(job) if job.state == "waiting" else 0,
    )


@router.post("/jobs/{job_id}/cancel")
def cancel(request: Request, job_id: str) -> Response:
    """End a job at its next model call."""
    desk(request).cancel(job_id)
    return _back(request, job_id)


@router.post("/jobs/{job_id}/delete")
def delete(request: Request, job_id: str) -> Response:
    """Forget a job and its pictures."""
    desk(request).delete(job_id)
    return RedirectResponse(pages.link(request)("/playground") + "#made", 303)


@router.get("/champions")
def champions(request: Request) -> Response:
    """Champions of the model registry; asked only when somebody wants them, for it is slow."""
    found = presets.champions(pages.parts(request).home)
    return pages.render(request, "playground/champions.html", page="playground", champions=found)


@router.get("/images/{job_id}/{key}.png")
def image(request: Request, job_id: str, key: str) -> Response:
    """A picture with its settings inside."""
    at = desk(request)
    data = at.history.picture(at.job(job_id), key)
    return Response(data, 200, {"Cache-Control": FOR_GOOD}, "image/png")


def _back(request: Request, job_id: str) -> Response:
    return RedirectResponse(pages.link(request)("/playground", job=job_id) + "#made", 303)


def _page(
    request: Request, read: form.Read, *, says: str = "", older: int = 0, status: int = 200
) -> Response:
    at, parts = desk(request), pages.parts(request)
    jobs = at.jobs()
    shown = jobs[older : older + SHOWN]
    return pages.render(
        request,
        "playground/playground.html",
        page="playground",
        status=status,
        values=read.values,
        faults=read.faults,
        label=form.label,
        says=says,
        jobs=shown,
        ahead={job.id: at.position(job) for job in shown if job.state == "waiting"},
        older=older,
        more=len(jobs) > older + SHOWN,
        shown=SHOWN,
        offers=presets.offers(parts.home, parts.index),
        has_registry=presets.has_registry(parts.home),
        schedulers=_schedulers(),
        spacings=SPACINGS,
        is_able=at.is_able,
        most_waiting=MOST_WAITING,
        limits=form,
        is_advanced=_is_advanced(read),
    )


def _schedulers() -> dict[str, list[str]]:
    """Base name -> the names to choose from, its sigma schedules with it."""
    return {
        name: [name, *(f"{name}_{s}" for s in SIGMA_SUFFIXES if known.sigmas)]
        for name, known in NOISE_NAMES.items()
    }


def _is_advanced(read: form.Read) -> bool:
    """Does the folded part hold something, or a fault?"""
    plain = form.values_of(Recipe())
    hidden = ("revision", "rescale", "spacing", "zero_snr", "eta", "clip_skip", "dtype", "loras")
    return any(
        name in read.faults or read.values.get(name, "") not in ("", plain[name])
        for name in (*hidden, "prompt_template")
    )


def job_and_key(request: Request, place: str) -> tuple[Job, str]:
    """`JOB/KEY` -> the job and a key that is one of its pictures. Raises StudyError."""
    job_id, _, key = place.partition("/")
    at = desk(request)
    job = at.job(job_id)
    if job.image(key) is None:
        at.history.picture(job, key)  # says what is wrong
    return job, key
