"""What a request asks to see, checked against the study: images, mode, axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, Request

from teststrip.errors import ConfigError
from teststrip.studio import pages
from teststrip.studio.compare.neighbours import axes, steerable
from teststrip.studio.compare.shots import MOST, Shot, label_of, shots
from teststrip.studio.index import Entry
from teststrip.studio.parts import Parts

MODES = (
    ("slider", "Slider", "s"),
    ("fade", "Fade", "f"),
    ("blink", "Blink", "b"),
    ("difference", "Difference", "d"),
    ("side", "Side by side", "g"),
)


@dataclass(frozen=True)
class View:
    """`mode`: how images are shown; `x`, `y`: fields of the arrow keys, None where there is none;
    `focus`: place of the image that keys move; `dropped`: keys beyond the fourth."""

    entry: Entry
    shots: Sequence[Shot]
    mode: str
    x: str | None
    y: str | None
    focus: int
    dropped: int

    @property
    def modes(self) -> tuple[tuple[str, str, str], ...]:
        """(name, words, key); one image has nothing to be laid over."""
        return MODES if len(self.shots) > 1 else MODES[-1:]

    @property
    def axes(self) -> list[tuple[str, str]]:
        """(field, label) of the settings that one can move along."""
        return [(s.field, label_of(s.field)) for s in steerable(self.entry)]

    def query(self, keys: Sequence[str] | None = None, **changes: Any) -> dict[str, Any]:
        """The view as a link's query, with other keys or changes."""
        kept = [shot.key for shot in self.shots] if keys is None else list(keys)
        base = {"study": self.entry.name, "i": kept, "mode": self.mode, "x": self.x, "y": self.y}
        return base | changes

    def without(self, key: str) -> dict[str, Any]:
        """The query less one image."""
        return self.query([s.key for s in self.shots if s.key != key], mode=None)

    def first(self, key: str) -> dict[str, Any]:
        """The query with this image in the first place."""
        return self.query([key, *(s.key for s in self.shots if s.key != key)])


def seen(request: Request, parts: Parts = Depends(pages.parts)) -> View:  # noqa: B008
    """Read the address. Unknown images stay in their place; an unknown mode or axis is left."""
    query = request.query_params
    name = query.get("study")
    if not name:
        raise ConfigError("no study named; ask for /compare?study=NAME&i=KEY&i=KEY")
    entry = parts.index.entry(name)
    keys = list(dict.fromkeys(key for key in query.getlist("i") if key))
    found = shots(parts.index, entry, keys)
    usual = "slider" if len(found) == 2 else "side"
    modes = [mode for mode, _, _ in MODES] if len(found) > 1 else ["side"]
    mode = query.get("mode") or usual
    x, y = axes(entry, query.get("x"), query.get("y"))
    focus = query.get("focus", "")
    last = max(len(found) - 1, 0)
    return View(
        entry=entry,
        shots=found,
        mode=mode if mode in modes else usual,
        x=x,
        y=y,
        focus=min(int(focus) - 1, last) if focus in ("1", "2", "3", "4") else min(1, last),
        dropped=max(len(keys) - MOST, 0),
    )
