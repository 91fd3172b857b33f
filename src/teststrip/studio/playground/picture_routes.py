"""One picture of the playground, several side by side, and the study around one."""

import io
from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image

from teststrip import a1111
from teststrip.errors import ConfigError, StudyError
from teststrip.recipe import Block
from teststrip.recipe import Request as Asked
from teststrip.studio import pages
from teststrip.studio.playground import around
from teststrip.studio.playground.job import Job
from teststrip.studio.playground.routes import desk, job_and_key

router = APIRouter(prefix="/playground")
LONGEST_LIST = 200_000


@router.get("/pictures/{job_id}/{key}")
def picture(request: Request, job_id: str, key: str) -> Response:
    """A picture with everything that made it, ready to copy."""
    job, key = job_and_key(request, f"{job_id}/{key}")
    return pages.render(
        request,
        "playground/picture.html",
        page="playground",
        job=job,
        made=job.image(key),
        texts=_texts(request, job, key),
        nearby=_nearby(job, key),
    )


@router.get("/pictures/{job_id}/{key}/texts")
def texts(request: Request, job_id: str, key: str) -> Response:
    """The settings as diffusers code, A1111 text and JSON."""
    job, key = job_and_key(request, f"{job_id}/{key}")
    return JSONResponse(_texts(request, job, key))


@router.get("/compare")
def compare(
    request: Request, i: Annotated[list[str] | None, Query(max_length=16)] = None
) -> Response:
    """Two pictures under a slider, more side by side; only what differs between them."""
    places = list(dict.fromkeys(i or []))
    found = [job_and_key(request, place) for place in places[:4]]
    chosen = [(job, job.image(key)) for job, key in found]
    return pages.render(
        request,
        "playground/compare.html",
        page="playground",
        chosen=chosen,
        differing=_differing([(job, made.seed) for job, made in chosen if made]),
        left_out=max(0, len(places) - 4),
    )


@router.get("/study")
def study(
    request: Request,
    job: str,
    name: Annotated[str, Query(max_length=100)] = "around",
    prompts: Annotated[str, Query(max_length=20_000)] = "",
) -> Response:
    """A study file around a recipe, to be copied, downloaded or saved; nothing is started."""
    return _study(request, job, name, prompts)


@router.post("/study")
def save(
    request: Request,
    job: Annotated[str, Form(max_length=64)],
    name: Annotated[str, Form(max_length=100)],
    prompts: Annotated[str, Form(max_length=LONGEST_LIST)] = "",
    action: Annotated[str, Form(max_length=10)] = "save",
) -> Response:
    """Show the file with more prompts, or save it under drafts/."""
    return _study(request, job, name, prompts, saving=action == "save")


@router.get("/drafts/{name}.yaml")
def draft(request: Request, name: str) -> Response:
    """A saved draft, to be downloaded."""
    text = around.read(pages.parts(request).home, name)
    headers = {"Content-Disposition": f'attachment; filename="{name}.yaml"'}
    return Response(text, 200, headers, "application/yaml")


def _study(
    request: Request, job_id: str, name: str, prompts: str, *, saving: bool = False
) -> Response:
    held = desk(request).job(job_id)
    home = pages.parts(request).home
    listed = prompts.splitlines() or [" ".join(held.prompt.split())]
    text, fault, saved = "", "", None
    try:
        text = around.study_yaml(name, held.recipe, listed)
        saved = around.save(home, name, text) if saving else None
    except ConfigError as exc:
        fault = str(exc)
    return pages.render(
        request,
        "playground/study.html",
        page="playground",
        status=422 if fault else 200,
        job=held,
        name=name,
        prompts="\n".join(listed),
        text=text,
        fault=fault,
        saved=saved,
        others=_other_prompts(request, listed),
    )


def _other_prompts(request: Request, listed: list[str]) -> list[str]:
    """Prompts of the history that the list does not hold yet."""
    found = dict.fromkeys(" ".join(job.prompt.split()) for job in desk(request).jobs())
    return [text for text in found if text not in listed][:20]


def _texts(request: Request, job: Job, key: str) -> dict[str, str]:
    from teststrip.evidence.reproduce import snippet

    made = job.image(key)
    if made is None:
        raise StudyError("the playground has no such picture; perhaps it was deleted")
    data = desk(request).history.picture(job, key)
    width, height = Image.open(io.BytesIO(data), formats=["PNG"]).size
    asked = Asked(recipe=job.recipe, block=Block(prompt=job.prompt, seed=made.seed))
    return {
        "diffusers": snippet(asked),
        "a1111": a1111.to_text(asked, width, height),
        "json": asked.model_dump_json(indent=2, exclude_defaults=True),
    }


def _nearby(job: Job, key: str) -> tuple[str | None, str | None]:
    """Keys of the pictures before and after it in its job, by seed as asked."""
    order = {seed: place for place, seed in enumerate(job.seeds)}
    keys = [made.key for made in sorted(job.images, key=lambda made: order[made.seed])]
    at = keys.index(key)
    return (keys[at - 1] if at else None, keys[at + 1] if at + 1 < len(keys) else None)


def _differing(chosen: list[tuple[Job, int]]) -> list[tuple[str, list[Any]]]:
    """Settings that are not the same for all, prompt and seed among them."""
    rows = [
        {"prompt": job.prompt, "seed": seed} | job.recipe.model_dump(mode="json")
        for job, seed in chosen
    ]
    if not rows:
        return []
    return [
        (name, [row[name] for row in rows])
        for name in rows[0]
        if len({repr(row[name]) for row in rows}) > 1
    ]
