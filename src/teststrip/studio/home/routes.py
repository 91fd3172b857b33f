"""`/`, `/studies/NAME` and the part of it that has to wait for the evidence."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from teststrip.errors import TeststripError
from teststrip.studio import pages
from teststrip.studio.home import shown
from teststrip.studio.parts import Parts

router = APIRouter()
A_PAGE = 60
Given = Annotated[Parts, Depends(pages.parts)]


@router.get("/")
def studies(
    request: Request, parts: Given, q: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """All studies, the newest first."""
    found, count = shown.cards(parts.index, q, A_PAGE)
    return pages.render(
        request, "home/studies.html", page="home", cards=found, count=count, text=q, home=parts.home
    )


@router.get("/studies/{name}")
def study(request: Request, parts: Given, name: str) -> Response:
    """One study: where to go from here."""
    entry = parts.index.entry(name)
    return pages.render(
        request,
        "home/study.html",
        page="home",
        study=entry.name,
        entry=entry,
        keys=shown.best(parts.index, entry, 12),
        span=shown.span,
    )


@router.get("/studies/{name}/answer")
def answer(request: Request, parts: Given, name: str) -> Response:
    """The answer in a sentence, or why there is none yet."""
    from teststrip.evidence.answer import answer as told

    try:
        found = told(parts.analysis(parts.index.entry(name).name))
    except TeststripError as exc:
        return pages.render(
            request, "home/answer.html", page="home", study=name, found=None, why=str(exc)
        )
    return pages.render(request, "home/answer.html", page="home", study=name, found=found, why="")
