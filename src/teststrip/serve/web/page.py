"""/: type a product, watch it being made, keep the picture, say whether it is good."""

import contextlib
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, FastAPI, Form, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from teststrip.errors import ConfigError, StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.web import (
    accepting,
    asking,
    cards,
    courier,
    feedback,
    login,
    problems,
    rendering,
)
from teststrip.serve.web.callers import Caller
from teststrip.serve.web.cards import FROM, PAGE
from teststrip.serve.web.catalog import CHAMPION, DEFAULT, Catalog, Champions, Crowned
from teststrip.serve.web.finding import find, find_record
from teststrip.serve.web.login import OurForm, Visitor
from teststrip.serve.web.problems import Problem
from teststrip.serve.web.routes_jobs import parts_of
from teststrip.serve.web.schemas import Recovering
from teststrip.templates import LOOK

SHOWN, LOOKS = 8, 10  # jobs on a page; how many pages of jobs of all kinds are looked through
COUNTS = (1, 2, 4, 8)
TRY = ("white trainers", "a ceramic teapot", "a leather handbag", "a wrist watch")
Cursor = Annotated[str, Query(max_length=200, pattern=r"^[A-Za-z0-9._:=-]*$")]
router = APIRouter(include_in_schema=False)


def install(app: FastAPI) -> None:
    """Pages, scripts, thumbs, and faults told as pages to those who want pages."""
    static = StaticFiles(directory=rendering.static_folder(), packages=LOOK)
    app.mount("/static", static, name="static")
    app.state.courier = courier.Courier(app.state.parts)
    for room in (login.router, feedback.router, router):
        app.include_router(room)
    problems.tell_by(app, "/", _tell)
    for prefix in ("/api/", "/healthz", "/readyz", "/metrics", "/static/"):
        problems.tell_by(app, prefix, lambda _, problem: problems.as_json(problem))


@router.get("/")
async def home(
    request: Request,
    who: Visitor,
    again: str | None = None,
    seed: str | None = None,
    before: Cursor = "",
) -> Response:
    """The page. `again`: fill the form as for that job, `seed`: with this seed."""
    asked = asking.fresh(_catalog(request))
    if again:
        try:
            record = await find_record(parts_of(request), who, again)
            crowned = _crowned(request)
            asked = asking.as_before(
                _catalog(request), record, seed, crowned.champion if crowned else None
            )
        except Problem as problem:
            asked = asking.fresh(_catalog(request), [problem.detail])
    return await _page(request, who, asked, before=before)


@router.post("/make", dependencies=[OurForm])
async def make(request: Request, who: Visitor) -> Response:
    """Accept what the form asks for: its card for our script, else the page again."""
    form = {name: str(value) for name, value in (await request.form()).items()}
    asked = asking.typed(form, _catalog(request))
    try:
        record = await _accepted(request, who, asked)
    except Problem as problem:
        if rendering.is_part(request) or problem.status in (401, 403):
            raise
        faults = problem.body.faults or [problem.detail]
        return await _page(request, who, replace(asked, faults=faults), status=problem.status)
    if rendering.is_part(request):
        return await _card(request, record, status=201)
    return RedirectResponse(rendering.link(request, "/") + f"#j{record.key}", 303)


@router.get("/jobs/{job_id}/card")
async def card(request: Request, job_id: str, who: Visitor) -> Response:
    """A job as it is now: the script asks again and again."""
    found = await find(parts_of(request), who, job_id)
    if isinstance(found, Recovering):
        raise Problem(503, "recovering", found.note, retry_s=5)
    return rendering.unless_known(request, await _card(request, found))


@router.get("/jobs")
async def earlier(request: Request, who: Visitor, before: Cursor = "") -> Response:
    """The next cards of the history, and the link to those before them."""
    shown, following = await _history(request, who, before)
    return rendering.html(request, "history.html", cards=shown, following=following)


@router.post("/jobs/{job_id}/cancel", dependencies=[OurForm])
async def cancel(request: Request, job_id: str, who: Visitor) -> Response:
    """Stop a job; what is finished stays."""
    parts = parts_of(request)
    record = await find_record(parts, who, job_id)
    if not record.is_ended:
        record = await parts.state.ask_cancel(record.key) or record
    return await _changed(request, record)


@router.post("/jobs/{job_id}/{index}/thumb", dependencies=[OurForm])
async def thumb(
    request: Request,
    job_id: str,
    index: Annotated[int, Path(ge=0, le=63)],
    who: Visitor,
    thumb: Annotated[str, Form(pattern="^(up|down|none)$")],
) -> Response:
    """Up, down, or taken back."""
    parts = parts_of(request)
    record = await find_record(parts, who, job_id)
    given: feedback.Thumb | None = {"up": "up", "down": "down"}.get(thumb)  # type: ignore[assignment]
    await feedback.rate(parts, who, record, index, given)
    feedback.ring(request)
    return await _changed(request, record)


@router.get("/pulse")
async def pulse(request: Request, who: Visitor) -> Response:
    """How busy the service is, and what speaks for the champion: as it is now."""
    return rendering.html(
        request, "news.html", pulse=await _pulse(request), evidence=await _evidence(request)
    )


async def _accepted(request: Request, who: Caller, asked: asking.Asked) -> JobRecord:
    """The job; a form sent twice is one job, one that was changed and sent again another."""
    wish = asking.wish_of(asked, who)
    for key in (asked.once or None, None):
        try:
            return await accepting.accept(parts_of(request), _catalog(request), who, wish, key)
        except Problem as problem:
            if problem.kind != "key-reused":
                raise
    raise AssertionError("a job without a key cannot have another's")


async def _page(
    request: Request, who: Caller, asked: asking.Asked, *, before: str = "", status: int = 200
) -> Response:
    catalog = _catalog(request)
    shown, following = await _history(request, who, before)
    return rendering.html(
        request,
        "home.html",
        status,
        asked=asked,
        templates=catalog.templates,
        recipes=await _recipes(request),
        counts=[n for n in COUNTS if n <= parts_of(request).config.max_n],
        most_prompt=parts_of(request).config.max_prompt_chars,
        tries=TRY,
        cards=shown,
        following=following,
        before=before,
        pulse=await _pulse(request),
        evidence=await _evidence(request),
    )


async def _card(request: Request, record: JobRecord, status: int = 200) -> HTMLResponse:
    return rendering.html(request, "card.html", status, card=await cards.card(request, record))


async def _changed(request: Request, record: JobRecord) -> Response:
    if rendering.is_part(request):
        return await _card(request, record)
    return RedirectResponse(rendering.link(request, "/") + f"#j{record.key}", 303)


async def _history(
    request: Request, who: Caller, before: str
) -> tuple[list[cards.Card], str | None]:
    """Jobs that this page made for this caller, newest first; those of programs are passed over."""
    parts: Parts = parts_of(request)
    found: list[JobRecord] = []
    cursor = before
    for _ in range(LOOKS):
        records, cursor = await parts.state.page(who.id, None, cursor, SHOWN)
        found += [r for r in records if r.labels.get(FROM) == PAGE and r.state != "expired"]
        if not cursor or len(found) >= SHOWN:
            break
    return [await cards.card(request, record) for record in found], cursor or None


@dataclass(frozen=True)
class Choice:
    """A recipe to choose from."""

    name: str
    words: str


async def _recipes(request: Request) -> list[Choice]:
    """The default first; where there is a champion, it is the default."""
    choices: list[Choice] = []
    crowned = _crowned(request)
    for found in await _catalog(request).recipes():
        if found.name == CHAMPION and crowned is not None:
            continue  # it is the default
        if found.champion is not None:
            words = f"Champion: {found.champion.name}, version {found.champion.version}"
            choices.append(Choice(found.name, words))
        else:
            words = f"Defaults of {found.recipe.model}" if found.name == DEFAULT else found.name
            choices.append(Choice(found.name, words))
    return choices


def _crowned(request: Request) -> Crowned | None:
    champions: Champions | None = request.app.state.champions
    return champions.current() if champions is not None else None


async def _evidence(request: Request) -> str:
    """What speaks for the champion: its study, and people's thumbs since."""
    crowned = _crowned(request)
    if crowned is None:
        return ""
    study = str(getattr(crowned, "headline", "") or "")
    champion = crowned.champion
    thumbs = await feedback.liked(parts_of(request), champion.name, champion.version)
    return f"{study} {thumbs}".strip()


async def _pulse(request: Request) -> str:
    """One line on the service: pictures under way, jobs that wait, workers."""
    workers = [card for card in await _catalog(request).cards() if not card.draining]
    waiting = (await parts_of(request).state.counts()).get("queued", 0)
    if not workers:
        return "no worker" if not waiting else f"no worker, {waiting} waiting"
    told = f"{len(workers)} worker{'' if len(workers) == 1 else 's'}"
    return f"{told}, {waiting} waiting" if waiting else f"{told}, nothing waits"


def _catalog(request: Request) -> Catalog:
    found: Catalog = request.app.state.catalog
    return found


def _tell(request: Request, problem: Problem) -> Response:
    """A fault as a page, where a page was asked for; one without a session leads to /login."""
    wants_page = "text/html" in request.headers.get("accept", "") and not rendering.is_part(request)
    if not wants_page:
        return problems.as_json(problem)
    if problem.status == 401:
        return RedirectResponse(rendering.link(request, "/login"), 303)
    with contextlib.suppress(ConfigError, StorageError):
        return rendering.html(
            request, "error.html", problem.status, problem.headers, problem=problem
        )
    return problems.as_json(problem)
