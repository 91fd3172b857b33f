"""The stages of a project: each reads its inputs, writes its outputs and says what was resolved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from teststrip.project.project import Project

Progress = Callable[[str, int, int], None]
"""What is done, how much of it, of how much."""


@dataclass(frozen=True)
class Made:
    """What a stage knows beyond its files, for its lock record.

    `resolved`: its parameters as they were used (no `auto` left). `model`: name, revision and
    fingerprint of the model, empty where none was opened. `device`: cpu, cuda:0 (with the card's
    name), ...; empty where nothing was computed on one. `said`: one line for people.
    """

    resolved: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    said: str = ""


@dataclass(frozen=True)
class Here:
    """Where a stage runs: the machine's device, whether it is recorded in MLflow, who watches."""

    device: str = "auto"
    track: bool = True
    progress: Progress = lambda what, done, total: None


Run = Callable[[Project, Here], Made]
"""A stage's `run`: repeating it is harmless, killing it leaves whole outputs or none."""


def find(name: str) -> Run:
    """The `run` of the stage's module here, loaded when it is needed."""
    run: Run = import_module(f"{__name__}.{name}").run
    return run
