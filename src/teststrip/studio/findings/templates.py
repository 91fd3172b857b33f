"""This room's templates: the studio's own and, by their names, the report's."""

from functools import lru_cache

from jinja2 import ChoiceLoader, Environment, PackageLoader

from teststrip.evidence.shown import FILTERS
from teststrip.studio import pages


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The studio's, which also finds `luck.html.j2` and has the report's filters."""
    studio = pages.environment()
    both = ChoiceLoader([PackageLoader("teststrip.studio"), PackageLoader("teststrip.evidence")])
    made = studio.overlay(loader=both)
    made.filters = studio.filters | FILTERS
    return made
