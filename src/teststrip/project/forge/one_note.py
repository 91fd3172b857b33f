"""One note for each report of a merge request, whoever else writes at the same time.

Neither interface can write "if there is none yet". So whoever made a note looks again, and where
there are several of ours the oldest stays, with the newest pipeline's text: two jobs that do so at
once come to the same end. A note whose making was not answered is looked for before it is made
again.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from teststrip.project.forge.client import Refused, Unreachable
from teststrip.project.forge.note import marked

TRIES = 3
What = Literal["made", "updated", "unchanged", "newer"]


@dataclass(frozen=True)
class Note:
    """A note of ours. `url`: where people see it."""

    id: int
    body: str
    url: str

    @property
    def run(self) -> int:
        """The pipeline that wrote it."""
        mark = marked(self.body)
        return mark.run if mark else 0


class Notes(Protocol):
    """The notes of one merge request. All calls raise Refused and Unreachable."""

    def ours(self, key: str) -> Sequence[Note]:
        """Notes of the token's own user with this key, oldest first."""

    def make(self, body: str) -> Note:
        """A new note. Unreachable: it may be there all the same."""

    def change(self, note: Note, body: str) -> Note:
        """Another text for a note."""

    def remove(self, note: Note) -> None:
        """Take a note away; one that is gone is no fault."""


def write(
    notes: Notes, key: str, run: int, body: Callable[[str], str], *, pause_s: float
) -> tuple[Note, What]:
    """The report's one note, and what became of it.

    `body`: the text, given that of the note which is there (empty: none). A note of a newer
    pipeline stays as it is. `pause_s`: before it looks for a note whose making was not answered.
    """
    is_asked = False
    for attempt in range(TRIES):
        found = notes.ours(key)
        if not found:
            try:
                made = notes.make(body(""))
            except Unreachable:
                if attempt == TRIES - 1:
                    raise
                is_asked = True
                time.sleep(pause_s)
                continue  # perhaps it is there
            return one_of(notes, key) or made, "made"
        newest = max(found, key=lambda note: note.run)
        if newest.run > run:
            return one_of(notes, key, found) or newest, "newer"
        text = body(found[0].body)
        what: What = "made" if is_asked else "unchanged"
        if _plain(found[0].body) != _plain(text):
            try:
                notes.change(found[0], text)
            except Refused as exc:
                if exc.status != 404 or attempt == TRIES - 1:
                    raise
                continue  # somebody took it away meanwhile
            what = "updated"
        if len(found) > 1:
            return one_of(notes, key) or found[0], what
        return found[0], what
    raise AssertionError("every attempt returns or raises")


def one_of(notes: Notes, key: str, found: Sequence[Note] = ()) -> Note | None:
    """The oldest of our notes, now with the newest one's text; the others are taken away."""
    found = found or notes.ours(key)
    if not found:
        return None
    first, *others = found
    newest = max(found, key=lambda note: note.run)
    if newest.run > first.run:
        first = notes.change(first, newest.body)
    for other in others:
        notes.remove(other)
    return first


def _plain(body: str) -> str:
    """Both forges trim what they keep."""
    return body.replace("\r\n", "\n").strip()
