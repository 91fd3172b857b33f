"""/rate: the page of pairs, single images, and what their buttons ask."""

import threading
from typing import Annotated, Any

from fastapi import APIRouter, Body, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from teststrip.errors import ConfigError
from teststrip.studio import pages
from teststrip.studio.rate import raters, single
from teststrip.studio.rate.desk import AMONG, MOST_RECIPES, USUAL, Desk
from teststrip.studio.rate.history import progress
from teststrip.studio.rate.ranking import Rankings
from teststrip.studio.rate.told import told
from teststrip.study.votes import SKIP, events

router = APIRouter(prefix="/rate")
AHEAD = 4
_making = threading.Lock()

Name = Annotated[str, Query(max_length=200)]
Text = Annotated[str, Body(max_length=200)]


def desk(request: Request) -> Desk:
    """The app's own, made at the first use."""
    with _making:
        if not hasattr(request.app.state, "rate"):
            request.app.state.rate = Desk(pages.parts(request)), Rankings()
    found: Desk = request.app.state.rate[0]
    return found


@router.get("")
def page(  # noqa: PLR0917 - what the address holds
    request: Request,
    study: Annotated[str | None, Query(max_length=200)] = None,
    mode: str = "pairs",
    among: Annotated[int, Query(ge=0, le=MOST_RECIPES)] = USUAL,
    show: str = "all",
    part: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """Pairs of a study; without a name who rates, without a study which."""
    at, rater = desk(request), raters.rater_of(request)
    if study is None:
        entries = [e for e in pages.parts(request).index.entries() if e.images > e.failed]
        return pages.render(request, "rate/studies.html", page="rate", entries=entries)
    shelf, rows = at.shelf(study), events(at.folder(study))
    if rater is None:
        known = sorted({row["rater"] for row in rows if row["rater"]})
        return pages.render(
            request, "rate/name.html", page="rate", study=study, known=known, mode=mode, wrong=""
        )
    if mode == "single" or not shelf.has_pairs:
        return single.page(request, at, study, rater, show, part)
    total = len(shelf.order)
    return pages.render(
        request,
        "rate/pairs.html",
        page="rate",
        study=study,
        rater=rater,
        entry=shelf.entry,
        pairs=at.pairs(study, rater, [], AHEAD, among),
        progress=progress(at.folder(study), rater),
        among=among,
        choices=[n for n in AMONG if n < total] + [0],
        total=min(total, MOST_RECIPES),
        standing=at.courier.standing(at.folder(study)),
    )


@router.post("/name")
def name(
    request: Request,
    rater: Annotated[str, Form(max_length=200)],
    study: Annotated[str, Form(max_length=200)],
    mode: Annotated[str, Form(max_length=20)] = "pairs",
) -> Response:
    """Who rates, once; then back to the study."""
    desk(request).shelf(study)
    back = pages.link(request)("/rate", study=study, mode="single" if mode == "single" else None)
    response = RedirectResponse(back, 303)
    raters.remember(request, response, raters.checked(rater))
    return response


@router.post("/forget")
def forget(request: Request, study: Annotated[str, Form(max_length=200)]) -> Response:
    """Somebody else sits down."""
    response = RedirectResponse(pages.link(request)("/rate", study=study), 303)
    raters.forget(request, response)
    return response


@router.post("/vote")
def vote(  # noqa: PLR0917 - what one request holds
    request: Request,
    study: Text,
    id: Text,
    left: Text,
    right: Text,
    choice: Text,
    held: Annotated[list[list[str]], Body(max_length=60)],
    ahead: Annotated[int, Body(ge=0, le=10)] = 1,
    among: Annotated[int, Body(ge=0, le=MOST_RECIPES)] = USUAL,
    tell: Annotated[bool, Body()] = False,
) -> dict[str, Any]:
    """Store one vote; answers with the pairs that come next, and with what was hidden if asked."""
    at, rater = desk(request), _rater(request)
    given = {"id": id, "left": left, "right": right, "choice": choice}
    added = at.vote(study, rater, given)
    shelf = at.shelf(study)
    is_told = tell and choice != SKIP
    return _state(request, at, study, rater) | {
        "added": added,
        "next": at.pairs(study, rater, held, ahead, among),
        "told": told(pages.parts(request).index, shelf.entry, left, right) if is_told else None,
    }


@router.post("/pairs")
def pairs(
    request: Request,
    study: Text,
    held: Annotated[list[list[str]], Body(max_length=60)],
    ahead: Annotated[int, Body(ge=0, le=10)] = AHEAD,
    among: Annotated[int, Body(ge=0, le=MOST_RECIPES)] = USUAL,
) -> dict[str, Any]:
    """New pairs, where some were lost on the way."""
    at, rater = desk(request), _rater(request)
    return _state(request, at, study, rater) | {"next": at.pairs(study, rater, held, ahead, among)}


@router.post("/undo")
def undo(request: Request, study: Text, id: Text) -> dict[str, Any]:
    """Take back a vote of one's own; asked twice it does nothing more."""
    at, rater = desk(request), _rater(request)
    pair = at.undo(study, rater, id)
    return _state(request, at, study, rater) | {"pair": pair}


@router.post("/mark")
def mark(
    request: Request,
    study: Text,
    id: Text,
    image: Text,
    mark: Text,
) -> dict[str, Any]:
    """Star or reject one image, or take that off."""
    at, rater = desk(request), _rater(request)
    added = at.mark(study, rater, id, image, mark)
    return {"added": added, "standing": at.courier.standing(at.folder(study)).text}


@router.get("/ranking")
def ranking(request: Request, study: Name, mine: bool = False) -> Response:
    """The ranking by all votes so far, or by one's own; a part of the page."""
    at, rater = desk(request), raters.rater_of(request) or ""
    shelf = at.shelf(study)
    rankings: Rankings = request.app.state.rate[1]
    found = rankings.ranking(
        pages.parts(request).index,
        shelf.entry,
        events(at.folder(study)),
        rater if mine else "",
    )
    return pages.render(
        request, "rate/ranking.html", page="rate", study=study, ranking=found, mine=mine
    )


def _rater(request: Request) -> str:
    found = raters.rater_of(request)
    if found is None:
        raise ConfigError("say first who rates: load the page again and give a name")
    return found


def _state(request: Request, at: Desk, study: str, rater: str) -> dict[str, Any]:
    folder = at.folder(study)
    standing = at.courier.standing(folder)
    return {
        "progress": progress(folder, rater),
        "standing": standing.text,
        "waiting": 0 if standing.kept else standing.waiting,
    }
