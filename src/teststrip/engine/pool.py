"""EnginePool: the Generator of a study; one engine per model, revision and precision."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from teststrip.engine.engine import Engine
from teststrip.protocols import OnProgress
from teststrip.recipe import Recipe, Request
from teststrip.records import Outcome

EngineKey = tuple[str, str | None, str]


class EnginePool:
    """Opens engines as recipes ask for them and keeps the last `keep` open.

    `options` are EngineConfig's; `dtype` is what recipes that name none are made in. Deterministic
    unless asked otherwise: a study's picture must be the same one however trials were batched.
    """

    def __init__(
        self, *, keep: int = 1, dtype: str = "auto", deterministic: bool = True, **options: Any
    ) -> None:
        self._keep = max(keep, 1)
        self._dtype = dtype
        self._options = options | {"deterministic": deterministic}
        self._engines: dict[EngineKey, Engine] = {}

    def engine(self, recipe: Recipe) -> Engine:
        """The open engine for this recipe; opens it (and closes the oldest) if need be."""
        key = self._key(recipe)
        if key not in self._engines:
            while len(self._engines) >= self._keep:
                self._engines.pop(next(iter(self._engines))).close()
            model, revision, dtype = key
            self._engines[key] = Engine.open(model, revision=revision, dtype=dtype, **self._options)
        return self._engines[key]

    def fingerprint(self, recipe: Recipe) -> str:
        """Weights, adapters and precision that would make this recipe's images."""
        return self.engine(recipe).fingerprint_of(recipe)

    def generate(
        self, requests: Iterable[Request], on_progress: OnProgress | None = None
    ) -> Iterator[Outcome]:
        """Model by model, so that a study over several models loads each once per call."""
        by_model = sorted(requests, key=lambda request: repr(self._key(request.recipe)))
        for _, group in groupby(by_model, key=lambda request: self._key(request.recipe)):
            same_model = list(group)
            engine = self.engine(same_model[0].recipe)
            yield from engine.generate(same_model, on_progress)

    def close(self) -> None:
        """Close all engines; twice is harmless."""
        while self._engines:
            self._engines.popitem()[1].close()

    def _key(self, recipe: Recipe) -> EngineKey:
        return recipe.model, recipe.revision, recipe.dtype or self._dtype
