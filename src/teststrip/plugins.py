"""Names -> things: built-in names of generators and scorers, or a user's own `module:attribute`."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teststrip.errors import MissingExtra, PluginError

GENERATORS = {
    "local": ("teststrip.engine.pool:EnginePool", "engine"),
    "service": ("teststrip.serve.fleet:ServiceGenerator", "service"),
    "synthetic": ("teststrip.testing.synthetic:SyntheticGenerator", "study"),
}
SCORERS = {
    "technical": ("teststrip.score.technical:TechnicalScorer", "score"),
    "clip": ("teststrip.score.clip:ClipScorer", "engine"),
    "pickscore": ("teststrip.score.pickscore:PickScorer", "engine"),
    "aesthetic": ("teststrip.score.aesthetic:AestheticScorer", "engine"),
    "likeness": ("teststrip.score.likeness:LikenessScorer", "engine"),
    "nearest": ("teststrip.score.likeness:NearestScorer", "engine"),
    "judge": ("teststrip.score.judge:JudgeScorer", "score"),
    "synthetic": ("teststrip.testing.synthetic:SyntheticScorer", "study"),
}


def load(name: str, known: Mapping[str, tuple[str, str]], kind: str) -> Any:
    """The class or factory behind a built-in name or a `module:attribute`.

    The current folder is searched too, so that `my_scorer.py` beside a study file works.
    Raises PluginError for an unknown name, MissingExtra if its packages are not installed.
    """
    target, extra = known.get(name, (name, ""))
    module_name, _, attribute = target.partition(":")
    if not attribute:
        raise PluginError(
            f"unknown {kind} {name!r}; accepted: {', '.join(known)}, or your own module:attribute"
        )
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if extra and exc.name and not exc.name.startswith("teststrip"):
            raise MissingExtra(f"{kind} {name!r} (package {exc.name})", extra) from exc
        if str(Path.cwd()) not in sys.path and exc.name == module_name.partition(".")[0]:
            sys.path.insert(0, str(Path.cwd()))
            try:
                return load(name, known, kind)
            finally:
                sys.path.remove(str(Path.cwd()))
        raise PluginError(f"{kind} {name!r}: cannot import {exc.name!r}; is it installed?") from exc
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise PluginError(f"{kind} {name!r}: {module_name} has no {attribute!r}") from None
