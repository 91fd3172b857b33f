"""What a study runs with: its generator, its scorers and the versions of everything."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from teststrip.errors import PluginError
from teststrip.plugins import GENERATORS, SCORERS, load
from teststrip.protocols import Generator, Scorer
from teststrip.settings import Settings
from teststrip.study.config import Named, StudyConfig

PACKAGES = ("teststrip", "optuna", "numpy", "scipy", "torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Parts:
    """Who makes and who judges."""

    generator: Generator
    scorers: Sequence[Scorer]


def load_generator(config: StudyConfig, beside: Path | None) -> Generator:
    """The generator that a config names. Raises PluginError, MissingExtra.

    The one on this machine runs where TESTSTRIP_DEVICE and TESTSTRIP_MAX_ROWS say, unless the
    study's own options do.
    """
    named = config.generator
    if named.name == "local":
        here = Settings()
        options = {"device": here.device, "max_rows": here.max_rows} | named.options
        named = Named(name=named.name, options=options)
    generator: Generator = _load(named, GENERATORS, "generator", beside)
    return generator


def load_scorers(config: StudyConfig, beside: Path | None) -> list[Scorer]:
    """The scorers that a config names. Raises PluginError, MissingExtra."""
    return scorers_named(config.scorers, beside)


def scorers_named(scorers: Sequence[Named], beside: Path | None) -> list[Scorer]:
    """Scorers by their names, for pictures of no study. Raises PluginError, MissingExtra."""
    return [_load(scorer, SCORERS, "scorer", beside) for scorer in scorers]


def versions() -> dict[str, str]:
    """Python and the packages that decide numbers."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _load(
    named: Named, known: Mapping[str, tuple[str, str]], kind: str, beside: Path | None
) -> Any:
    """A generator or scorer by name; a user's module may lie `beside` the study file."""
    with _importable(beside):
        make = load(named.name, known, kind)
        try:
            return make(**named.options)
        except TypeError as exc:
            raise PluginError(f"{kind} {named.name!r} with {named.options}: {exc}") from exc


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    if folder is None or str(folder) in sys.path:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
