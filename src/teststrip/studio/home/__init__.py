"""The first page: all studies, and one study's own page. To be written by its owner."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from teststrip.studio import pages

router = APIRouter()


@router.get("/")
def studies(request: Request) -> Response:
    """All studies."""
    return pages.render(request, "home/studies.html", page="home")
