"""The first page, all studies; and a page of each study: its answer, its images, what varied."""

from teststrip.studio.home.routes import router

__all__ = ["router"]
