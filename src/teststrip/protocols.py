"""The seams: what a generator, a scorer and a tracker must be. Any class of this shape will do."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from teststrip.recipe import Recipe, Request
from teststrip.records import Generation, Outcome, Progress

OnProgress = Callable[[Progress], None]


@runtime_checkable
class Generator(Protocol):
    """Makes images from requests.

    Contract: every request is answered exactly once, by a `Generation` or a `Failure`, in any
    order, as it finishes. The same request gives the same picture. One thread at a time uses a
    generator. Closing the iterator early drops what was not finished and leaves the generator
    usable. `close` frees what it holds; calling it twice is harmless.
    """

    def fingerprint(self, recipe: Recipe) -> str:
        """Name of the exact weights and precision that would make this recipe's images."""
        ...

    def generate(
        self, requests: Iterable[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Outcome]:
        """Yield each request's outcome as it finishes. Raises ModelError if a model won't open."""
        ...

    def close(self) -> None:
        """Free models and threads."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Judges images in batches.

    Contract: `score` returns one mapping per generation, in order, from column name to number;
    every column carries name and version (`clip_small@1`). A picture that cannot be judged gives
    NaN in its columns, never a made-up number. Same picture, same numbers, whatever the batch.
    """

    @property
    def columns(self) -> Mapping[str, bool]:
        """Column name -> is higher better?"""
        ...

    def score(self, generations: Sequence[Generation]) -> list[dict[str, float]]:
        """Judge a batch."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """Keeps the record of a study.

    Contract: every call may be repeated with the same arguments without effect (a study that was
    killed and resumed records nothing twice).
    """

    def start_study(self, name: str, config: Mapping[str, Any]) -> str:
        """Open (or find again) the parent run of study `name`; returns its run id."""
        ...

    def log_recipe(  # noqa: PLR0917 - one call, all of one recipe
        self,
        name: str,
        recipe: Recipe,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        images: Mapping[str, bytes],
        status: str,
    ) -> str:
        """Record one recipe as a child run: what was varied, aggregates, its PNGs by file name."""
        ...

    def finish_study(
        self,
        name: str,
        metrics: Mapping[str, float],
        files: Mapping[str, bytes],
        status: str,
    ) -> None:
        """Record the study's summary, its table of images and its report; close the run."""
        ...
