"""What a source finds before anything is looked at: names, bytes on demand, captions."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Found:
    """A picture that nobody has opened yet. `caption` is empty where there is none."""

    name: str
    read: Callable[[], bytes] = field(repr=False)
    caption: str = ""


@dataclass
class Listing:
    """All pictures of a source in order, and what is wrong with it so far."""

    found: list[Found]
    faults: list[str]
