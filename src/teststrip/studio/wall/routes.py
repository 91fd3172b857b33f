"""Pages and data of the wall."""

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse, Response

from teststrip.errors import ConfigError
from teststrip.studio import pages
from teststrip.studio.index import Entry
from teststrip.studio.parts import Parts
from teststrip.studio.wall import export, flat_picture, image, payload, picture
from teststrip.studio.wall.build import Wall, build
from teststrip.studio.wall.defaults import first_view
from teststrip.studio.wall.panel import panel
from teststrip.studio.wall.view import View, parse

router = APIRouter()
PAGING = ("first", "count")
Needed = Annotated[Parts, Depends(pages.parts)]


def asked(request: Request, parts: Parts) -> tuple[View, Entry]:
    """The view of the address. Raises StudyError without such a study, ConfigError with faults."""
    entry = parts.index.entry(request.query_params.get("study", ""))
    pairs = [(n, v) for n, v in request.query_params.multi_items() if n not in PAGING]
    bare = not any(n in ("x", "y", "x2", "y2") or n.startswith("f.") for n, _ in pairs)
    return parse(pairs, entry, first_view(entry, parts.index) if bare else None), entry


def axes_only(view: View) -> None:
    """Raises ConfigError for a view without axes."""
    if view.is_flat:
        raise ConfigError("this view has no axes; its images come page by page: /wall/images.json")


@router.get("/wall")
def page(request: Request, parts: Needed) -> Response:
    """The wall of a study; without a name, of the newest one."""
    entries = parts.index.entries()
    name = request.query_params.get("study")
    if not name and not entries:
        return pages.render(request, "wall/none.html", page="wall")
    if not name:
        entry = entries[0]
        view = parse([("study", entry.name)], entry, first_view(entry, parts.index))
    else:
        view, entry = asked(request, parts)
    return pages.render(
        request,
        "wall/wall.html",
        page="wall",
        study=entry.name,
        entry=entry,
        view=view,
        panel=panel(view, entry, parts.index),
        studies=[e.name for e in entries],
    )


@router.get("/wall/cells.json")
def cells(request: Request, parts: Needed) -> Response:
    """A wall with axes: lines, cells, and images of each."""
    view, entry = asked(request, parts)
    axes_only(view)

    tag = _tag(view, entry)
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    body = payload.wall(build(view, entry, parts.index), view, entry, parts.index)
    return _data(body, tag)


@router.get("/wall/images.json")
def images(
    request: Request,
    parts: Needed,
    first: Annotated[int, Query(ge=0, le=100_000_000)] = 0,
    count: Annotated[int, Query(ge=1, le=payload.MOST_IN_PAGE)] = 200,
) -> Response:
    """A page of a view's images, its axes left aside; the first page also says how many."""
    view, entry = asked(request, parts)
    tag = _tag(view, entry, f"{first} {count}")
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers={"ETag": tag})
    body = payload.images(view, entry, parts.index, first=first, count=count)
    if first == 0:
        body = payload.head(view, entry, parts.index) | body
    return _data(body, tag)


@router.get("/wall/image.json")
def one_image(parts: Needed, study: str, i: str) -> Response:
    """Everything of one image."""
    return JSONResponse(image.image(parts.index.entry(study), parts.index, i))


@router.get("/wall/table")
def table(request: Request, parts: Needed) -> Response:
    """The wall's numbers as a plain table: for screen readers, printers, pages without scripts."""
    view, entry = asked(request, parts)
    made = None if view.is_flat else build(view, entry, parts.index)
    rows = payload.images(view, entry, parts.index, first=0, count=200) if made is None else None
    return pages.render(
        request,
        "wall/table.html",
        page="wall",
        study=entry.name,
        view=view,
        wall=made,
        flat=rows,
        head=payload.head(view, entry, parts.index),
    )


@router.get("/wall/export.json")
def as_json(request: Request, parts: Needed) -> Response:
    """Numbers and image keys of a wall, or the images of a view without axes."""
    view, entry = asked(request, parts)
    body = export.as_json(_made(view, entry, parts), view, entry, parts.index)
    return _file(body, "application/json", entry, "json")


@router.get("/wall/export.csv")
def as_csv(request: Request, parts: Needed) -> Response:
    """A row for each cell, or for each image of a view without axes."""
    view, entry = asked(request, parts)
    body = export.as_csv(_made(view, entry, parts), view, entry, parts.index)
    return _file(body, "text/csv; charset=utf-8", entry, "csv")


@router.get("/wall/export.png")
def as_png(request: Request, parts: Needed) -> Response:
    """The wall drawn: labels, numbers and matched images; without axes, the first images."""
    view, entry = asked(request, parts)
    if view.is_flat:
        body = flat_picture.draw(view, entry, parts.index, parts.pictures)
    else:
        body = picture.draw(build(view, entry, parts.index), view, entry, parts.pictures)
    return _file(body, "image/png", entry, "png")


def _data(body: dict[str, Any], tag: str) -> Response:
    heads = {"ETag": tag, "Cache-Control": "no-cache"}
    return Response(payload.as_json(body), media_type="application/json", headers=heads)


def _made(view: View, entry: Entry, parts: Parts) -> Wall | None:
    return None if view.is_flat else build(view, entry, parts.index)


def _file(body: bytes, kind: str, entry: Entry, ending: str) -> Response:
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in entry.name)
    heads = {"Content-Disposition": f'attachment; filename="wall-{name}.{ending}"'}
    return Response(body, media_type=kind, headers=heads)


def _tag(view: View, entry: Entry, more: str = "") -> str:
    digest = hashlib.sha256(f"{view.address()} {more}".encode()).hexdigest()[:16]
    return f'"{entry.version}-{digest}"'
