"""What rooms hand each other: the image that was made, the image that was not, and a table row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from teststrip.recipe import Request


@dataclass(frozen=True)
class Generation:
    """One image and its facts.

    `png` holds the encoded picture with its settings in text chunks (see `teststrip.png`).
    `seconds` is the image's share of the generator's wall time, `model_calls` what it cost.
    `facts`: versions, device, dtype, model fingerprint, whatever else re-making it needs.
    """

    request: Request
    image_key: str
    png: bytes = field(repr=False)
    seconds: float
    model_calls: int
    facts: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Failure:
    """One request that could not be made; its neighbours go on."""

    request: Request
    image_key: str
    reason: str


Outcome = Generation | Failure


@dataclass(frozen=True)
class Score:
    """A scorer's number for one image. `column` carries name and version: `clip_small@1`."""

    column: str
    value: float
    higher_is_better: bool = True


@dataclass(frozen=True)
class Progress:
    """How far one request is: exact, since both numbers are model calls."""

    request: Request
    calls_done: int
    calls_total: int
