"""The pages of evidence: /findings?study=NAME, a section each at /findings/SECTION."""

from functools import lru_cache
from importlib import resources
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response

from teststrip.errors import StudyError
from teststrip.studio import pages
from teststrip.studio.findings.links import Links
from teststrip.studio.findings.reading import Reader, reader
from teststrip.studio.findings.section import SECTIONS, Sources, values
from teststrip.studio.findings.sofar import ahead
from teststrip.studio.findings.templates import environment
from teststrip.studio.index import Entry
from teststrip.studio.parts import Parts

router = APIRouter()
PATIENCE_S, PART_PATIENCE_S = 0.3, 20.0  # a page waits shortly, its part (asked by htmx) longer
TITLES = dict(SECTIONS)
Name = Annotated[str | None, Query(max_length=200)]
Given = Annotated[Parts, Depends(pages.parts)]
Read = Annotated[Reader, Depends(reader)]


@router.get("/findings/report.css")
def report_style() -> Response:
    """The report's style sheet, for what is inside `.evidence`."""
    return Response(_style(), media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@router.get("/findings")
def answer(request: Request, parts: Given, read: Read, study: Name = None) -> Response:
    """The answer and the best set; without a study, which ones there are."""
    if study is None:
        entries = parts.index.entries()
        if len(entries) == 1:
            return RedirectResponse(pages.link(request)("/findings", study=entries[0].name), 303)
        return pages.render(request, "findings/choose.html", page="findings", entries=entries)
    return _section(request, parts, read, "answer", study)


@router.get("/findings/{key}")
def section(request: Request, parts: Given, read: Read, key: str, study: Name = None) -> Response:
    """One section of the evidence."""
    if key not in TITLES:
        raise StudyError(f"no section {key[:40]!r}; there are: {', '.join(TITLES)}")
    if study is None:
        return RedirectResponse(pages.link(request)("/findings"), 303)
    return _section(request, parts, read, key, study)


def _section(request: Request, parts: Parts, read: Reader, key: str, study: str) -> Response:
    entry = parts.index.entry(study)
    if not entry.paired:
        return _render(request, "unpaired", key, entry)
    is_part = request.headers.get("HX-Target") == "evidence"
    try:
        found = read.read(study, PART_PATIENCE_S if is_part else PATIENCE_S)
    except StudyError as exc:
        so_far = ahead(parts.index, entry)
        return _render(request, "nothing", key, entry, why=str(exc), ahead=so_far)
    if found is None:
        return _render(request, "reading", key, entry)
    analysis, shown = found
    links = Links(pages.link(request), entry, analysis)
    sources = Sources(analysis, links, parts.pictures, study)
    own = values(key, sources, dict(request.query_params))
    return _render(request, key, key, entry, **(shown | own))


def _render(request: Request, what: str, key: str, entry: Entry, **given: Any) -> Response:
    """`what`: the template of the content; the frame around it is the same for all."""
    return pages.render(
        request,
        "findings/page.html",
        page="findings",
        study=entry.name,
        headers={"Cache-Control": "no-store"},
        what=what,
        key=key,
        sections=SECTIONS,
        templates=environment(),
        look_again=f"?{request.url.query}",
        section_title=TITLES[key],
        entry=entry,
        **given,
    )


@lru_cache(maxsize=1)
def _style() -> str:
    """Nested, so that the report's rules hold for the evidence and for nothing else of a page."""
    text = (resources.files("teststrip.evidence") / "templates/report.css").read_text("utf-8")
    return f".evidence {{\n{text}\n}}\n"
