"""The routes: the page, its part that is polled (ETag, 304, Retry-After), and the buttons."""

import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.encoders import jsonable_encoder
from fastapi.responses import JSONResponse, RedirectResponse, Response

from teststrip import __version__
from teststrip.evidence import numbers
from teststrip.studio import pages
from teststrip.studio.live.launcher import Launcher, launcher, train_launcher
from teststrip.studio.live.status import Status, status_of, statuses
from teststrip.studio.live.trainings import Training, training_of, trainings
from teststrip.studio.parts import Parts

router = APIRouter()
MOST_ENDED = 12
MOST_ENDED_TRAININGS = 6
BUSY_S, QUIET_S = 1, 10
LIMITS = ("images", "minutes")
AppParts = Annotated[Parts, Depends(pages.parts)]
AppLauncher = Annotated[Launcher, Depends(launcher)]
TrainLauncher = Annotated[Launcher, Depends(train_launcher)]


@router.get("/live")
def live(request: Request, parts: AppParts, studies: AppLauncher, runs: TrainLauncher) -> Response:
    """All that runs, and what ended lately."""
    found = statuses(studies, parts, MOST_ENDED)
    training = trainings(parts.home, runs, MOST_ENDED_TRAININGS)
    return pages.render(
        request,
        "live/live.html",
        page="live",
        etag=_etag(found, training),
        wait=_wait_s(found, training),
        **_values(found, training),
    )


@router.get("/live/studies")
def part(request: Request, parts: AppParts, studies: AppLauncher, runs: TrainLauncher) -> Response:
    """The part of the page that changes; 304 where nothing did."""
    found = statuses(studies, parts, MOST_ENDED)
    training = trainings(parts.home, runs, MOST_ENDED_TRAININGS)
    headers = _headers(found, training)
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return pages.render(
        request, "live/studies.html", page="live", headers=headers, **_values(found, training)
    )


@router.get("/live/studies.json")
def numbers_of_all(
    request: Request, parts: AppParts, studies: AppLauncher, runs: TrainLauncher
) -> Response:
    """The same for programs."""
    found = statuses(studies, parts, MOST_ENDED)
    training = trainings(parts.home, runs, MOST_ENDED_TRAININGS)
    headers = _headers(found, training)
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return JSONResponse(
        jsonable_encoder({"studies": found, "trainings": training}), headers=headers
    )


@router.post("/live/{name}/stop")
def stop(request: Request, name: str, studies: AppLauncher) -> Response:
    """Ask for a stop at the next image. 409 where nobody runs it."""
    now = status_of(name, studies)
    folder = studies.folder(name)
    if folder.holder() is None:
        raise HTTPException(409, f"study {name!r} is not running; it is {now.state}")
    folder.ask_to_stop("the studio")
    return _done(request, name, studies)


@router.post("/live/{name}/resume")
def resume(  # noqa: PLR0917 - FastAPI calls it by name
    request: Request,
    name: str,
    studies: AppLauncher,
    images: Annotated[int | None, Form(ge=1)] = None,
    minutes: Annotated[float | None, Form(gt=0)] = None,
    retry_failed: Annotated[bool, Form()] = False,
) -> Response:
    """Go on in a process of its own; a used-up budget may grow. 409 where it runs already."""
    given = zip(LIMITS, (images, minutes), strict=True)
    budget = [f"budget.{limit}={value}" for limit, value in given if value is not None]
    studies.resume(name, budget=budget, retry_failed=retry_failed)
    return _done(request, name, studies)


@router.post("/live/trainings/{name}/stop")
def stop_training(request: Request, name: str, parts: AppParts, runs: TrainLauncher) -> Response:
    """Ask for a stop after the next step, with a checkpoint. 409 where nobody runs it."""
    now = training_of(parts.home, name, runs)
    folder = runs.folder(name)
    if folder.holder() is None:
        raise HTTPException(409, f"training run {name!r} is not running; it is {now.state}")
    folder.ask_to_stop("the studio")
    return _done_training(request, training_of(parts.home, name, runs))


@router.post("/live/trainings/{name}/resume")
def resume_training(request: Request, name: str, parts: AppParts, runs: TrainLauncher) -> Response:
    """Go on from the last checkpoint in a process of its own. 409 where there is nothing to do."""
    now = training_of(parts.home, name, runs)
    if now.is_running:
        raise HTTPException(409, f"training run {name!r} is running already")
    if not now.can_resume:
        raise HTTPException(409, f"training run {name!r} is {now.state}; nothing is left to do")
    is_tracked = "mlflow" in json.loads((runs.folder(name).path / "run.json").read_bytes())
    more = [] if is_tracked else ["--no-track"]  # as it was begun
    runs.start(name, ["train", "resume", name, "--quiet", *more])
    return _done_training(request, training_of(parts.home, name, runs))


def _done_training(request: Request, now: Training) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(pages.link(request)("/live"), 303)
    return JSONResponse({"name": now.name, "state": now.state}, 202)


def _done(request: Request, name: str, studies: Launcher) -> Response:
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(pages.link(request)("/live"), 303)
    return JSONResponse({"name": name, "state": status_of(name, studies).state}, 202)


def _values(found: list[Status], training: list[Training]) -> dict[str, Any]:
    running = [s for s in found if s.is_running]
    ended = [s for s in found if not s.is_running]
    return {
        "running": running,
        "training": [t for t in training if t.is_running],
        "trained": [t for t in training if not t.is_running],
        "ended": ended[:MOST_ENDED],
        "more": len(ended[MOST_ENDED:]),
        "numbers": numbers,
    }


def _wait_s(found: list[Status], training: list[Training]) -> int:
    """How soon it is worth to ask again."""
    return (
        BUSY_S
        if any(s.is_running for s in found) or any(t.is_running for t in training)
        else QUIET_S
    )


def _etag(found: list[Status], training: list[Training]) -> str:
    shown = repr((__version__, found, training)).encode()
    return f'"{hashlib.sha256(shown).hexdigest()[:24]}"'


def _headers(found: list[Status], training: list[Training]) -> dict[str, str]:
    return {
        "ETag": _etag(found, training),
        "Retry-After": str(_wait_s(found, training)),
        "Cache-Control": "private, no-cache",
        "Vary": "Cookie",
    }
