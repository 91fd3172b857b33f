"""A study's events as a stage's progress, and its errors as a project's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from teststrip.errors import StudyError
from teststrip.wire.stages import Here

if TYPE_CHECKING:
    from teststrip.study.result import Event


def watched(here: Here, what: str) -> "Callable[[Event], None]":
    """Tells how many of a study's pictures are there."""

    def note(event: "Event") -> None:
        here.progress(what, event.images, max(event.images, event.images_expected))

    return note


@contextmanager
def resumable(stage: str) -> Iterator[None]:
    """An error that names a study's own verb to go on says the project's, too."""
    try:
        yield
    except StudyError as exc:
        if "teststrip study resume" not in str(exc) and "teststrip study confirm" not in str(exc):
            raise
        raise StudyError(
            f"{exc}\nIn a project: teststrip project run {stage}, or dvc repro, goes on from there"
        ) from exc
