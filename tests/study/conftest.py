"""Small studies for the tests."""

from collections.abc import Callable
from typing import Any

import pytest

from teststrip.testing.synthetic import SyntheticGenerator

SPACE: dict[str, Any] = {
    "scheduler": ["ddim", "euler"],
    "steps": {"int": [10, 30], "step": 10},
}


def small_config(**changes: Any) -> dict[str, Any]:
    """A study of six recipes on twelve blocks."""
    return {
        "name": "small",
        "generator": "synthetic",
        "scorers": ["synthetic"],
        "objectives": ["synthetic"],
        "prompts": {"items": [f"prompt {i}" for i in range(8)], "held_out": 0.25},
        "seeds": 2,
        "space": SPACE,
        "race": {"start": 2, "top": 8, "ask": 4},
    } | changes


class CountingGenerator(SyntheticGenerator):
    """Remembers what it was asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls: list[Any] = []

    def generate(self, requests, on_progress=None):
        for request in requests:
            self.calls.append(request)
            yield from super().generate([request], on_progress)


@pytest.fixture
def config() -> Callable[..., dict[str, Any]]:
    """`config(**changes)`: see `small_config`."""
    return small_config


@pytest.fixture
def counting() -> type[CountingGenerator]:
    """The class of a generator that remembers its calls."""
    return CountingGenerator
