"""The seam of the worker: an engine that goes on step by step (`teststrip.Engine` is one)."""

from collections.abc import Callable
from typing import Protocol

from teststrip.protocols import OnProgress
from teststrip.recipe import Recipe, Request
from teststrip.records import Outcome, Progress


class Stepper(Protocol):
    """Owned by one thread. `add_request` queues one image, `step` moves all on board by one call.

    Any class of this shape can serve: `--engine module:attribute` names a factory
    `(model: str, **options) -> Stepper`.
    """

    default_recipe: Recipe
    fingerprint: str
    dtype: str

    @property
    def slots(self) -> int:
        """Images that share a model call; a worker keeps about so many under way."""
        ...

    def add_request(self, request: Request) -> int:
        """Queue one image; returns its ticket. Raises ConfigError, ModelError."""
        ...

    def step(self, on_progress: OnProgress | None = None) -> list[Outcome]:
        """One model call for everybody on board; returns what finished meanwhile."""
        ...

    def cancel(self, ticket: int) -> bool:
        """Drop a request; its rows are free at the next step."""
        ...

    def progress(self, ticket: int) -> Progress | None:
        """How far a request is."""
        ...

    def preview(self, ticket: int, longest: int = 256) -> bytes | None:
        """A small WebP of how the picture looks now; None before the first step."""
        ...

    def size(self, recipe: Recipe) -> tuple[int, int]:
        """(width, height) in pixels of this recipe's pictures. Raises ConfigError."""
        ...

    def fingerprint_of(self, recipe: Recipe) -> str:
        """Exact weights and precision that would make this recipe's images."""
        ...

    @property
    def is_idle(self) -> bool:
        """True when nothing waits, flies or is being decoded."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


OpenStepper = Callable[..., Stepper]
