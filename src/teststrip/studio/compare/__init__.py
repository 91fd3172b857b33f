"""Compare: two to four images on top of one another or side by side, and what sets them apart.

shots          images by their keys          neighbours    where the arrow keys lead
differences    settings and scores           versus        the evidence of their recipes
texts          settings to copy              pairs         what to look at first
view           one request's images and axes
"""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from teststrip.errors import ConfigError, StorageError, StudyError
from teststrip.studio import pages
from teststrip.studio.compare import differences, pairs
from teststrip.studio.compare.neighbours import lines
from teststrip.studio.compare.shots import MOST, shots
from teststrip.studio.compare.texts import texts
from teststrip.studio.compare.versus import versus
from teststrip.studio.compare.view import View, seen
from teststrip.studio.parts import Parts

router = APIRouter(prefix="/compare")
Given = Annotated[Parts, Depends(pages.parts)]
Seen = Annotated[View, Depends(seen)]


@router.get("")
def compare(request: Request, parts: Given, study: str | None = None) -> Response:
    """The page: images side by side, or pairs to choose from, or studies to choose from."""
    if study is None:
        entries = parts.index.entries()
        return pages.render(request, "compare/studies.html", page="compare", entries=entries)
    view = seen(request, parts)
    if not view.shots:
        return pages.render(request, "compare/start.html", page="compare", study=study)
    return pages.render(
        request, "compare/compare.html", page="compare", study=study, v=view, **_told(view)
    )


@router.get("/pairs")
def first_pairs(request: Request, parts: Given, study: str) -> Response:
    """Pairs to begin with; asked after the page, since a large study's evidence takes a while."""
    entry = parts.index.entry(study)
    found = pairs.roles(parts.index, entry, parts.analysis)
    offers = pairs.offers(parts.index, entry, found)
    return pages.render(request, "compare/pairs.html", page="compare", study=study, offers=offers)


@router.get("/told")
def told(request: Request, view: Seen) -> Response:
    """What is told of the images, anew after a step: a part of the page."""
    return pages.render(
        request,
        "compare/told.html",
        page="compare",
        study=view.entry.name,
        v=view,
        **_told(view),
    )


@router.get("/neighbours")
def neighbours(parts: Given, view: Seen) -> JSONResponse:
    """Lines through each image: `{"images": {key: {"x": .., "y": .., "seed": .., "prompt": ..}}}`.

    An unknown key has null.
    """
    found = {
        shot.key: {
            name: asdict(line)
            for name, line in lines(parts.index, view.entry, shot.row, view.x, view.y).items()
        }
        if shot.row is not None
        else None
        for shot in view.shots
    }
    return JSONResponse({"x": view.x, "y": view.y, "images": found})


@router.get("/evidence")
def evidence(request: Request, parts: Given, view: Seen) -> Response:
    """The recipes against one another on all their blocks, and what to add: a part of the page."""
    found, fault = [], ""
    try:
        found = versus(parts.analysis(view.entry.name), view.shots)
    except (ConfigError, StorageError, StudyError) as exc:
        fault = str(exc)
    return pages.render(
        request,
        "compare/evidence.html",
        page="compare",
        study=view.entry.name,
        v=view,
        found=found,
        fault=fault,
        objective=view.entry.objective,
        partners=_partners(parts, view),
    )


@router.get("/texts")
def settings_to_copy(
    request: Request, parts: Given, study: str, i: Annotated[str, Query(max_length=200)]
) -> Response:
    """One image's settings as diffusers code, A1111 text and JSON: a part of the page."""
    entry = parts.index.entry(study)
    shot = shots(parts.index, entry, [i])[0]
    made = texts(shot, parts.pictures)
    return pages.render(
        request, "compare/texts.html", page="compare", study=study, shot=shot, texts=made
    )


def _told(view: View) -> dict[str, Any]:
    there = [shot for shot in view.shots if shot.row is not None]
    blocks = {(shot.told["prompt_id"], shot.told["seed"]) for shot in there}
    return {
        "settings": differences.settings(there) if there else [],
        "scores": differences.scores(view.entry, there) if there else [],
        "apart": differences.apart(there) if there else {},
        "there": there,
        "matched": len(there) < 2 or (len(blocks) == 1 and there[0].told["seed"] is not None),
    }


def _partners(parts: Parts, view: View) -> list[tuple[str, str]]:
    """(role, image key) that may be added to the first image that is there."""
    first = next((shot.row for shot in view.shots if shot.row is not None), None)
    if first is None or not view.entry.paired or len(view.shots) == MOST:
        return []
    found = pairs.roles(parts.index, view.entry, parts.analysis)
    chosen = {shot.key for shot in view.shots}
    beside = pairs.partners(parts.index, view.entry, first, found)
    return [(role, key) for role, key in beside if key not in chosen]
