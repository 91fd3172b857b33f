"""What the event loop and the engine's thread tell each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from teststrip.errors import TeststripError
from teststrip.recipe import Request
from teststrip.records import Generation

Name = tuple[str, int]  # key of the job, index of the picture


@dataclass(frozen=True)
class Add:
    """Make this picture."""

    name: Name
    request: Request
    wants_preview: bool


@dataclass(frozen=True)
class Cancel:
    """Drop this picture. `asked`: time.perf_counter() when."""

    name: Name
    asked: float


@dataclass(frozen=True)
class Open:
    """Load this model."""

    model: str


@dataclass(frozen=True)
class Close:
    """End the thread; what is on board is dropped."""


@dataclass(frozen=True)
class Settled:
    """A picture's end."""

    name: Name
    result: Generation | TeststripError


@dataclass(frozen=True)
class Preview:
    """How a picture looks now: WebP."""

    name: Name
    data: bytes


@dataclass(frozen=True)
class Opened:
    """A model was loaded (`facts`, see WorkerCard.models) or could not be."""

    model: str
    facts: Mapping[str, Any] | Exception


@dataclass(frozen=True)
class Ended:
    """The thread is over: the last event."""


Command = Add | Cancel | Open | Close
Event = Settled | Preview | Opened | Ended
