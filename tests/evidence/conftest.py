"""Simulated worlds and small tables for the tests of this room."""

import importlib.util
from pathlib import Path

import pytest

from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.table import checked


@pytest.fixture(scope="session")
def worlds():
    """The module `worlds.py` beside this file (pytest's importlib mode has no siblings)."""
    spec = importlib.util.spec_from_file_location("worlds", Path(__file__).with_name("worlds.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def facts():
    """Facts of a simulated study; keyword arguments change them."""

    def make(**changes):
        return StudyFacts(**({"name": "sim", "objective": "clip@1", "baseline": "r000"} | changes))

    return make


@pytest.fixture(scope="session")
def study(worlds):
    """(table, truth) of a simulated study that was raced; settings: steps and guidance."""
    import numpy as np

    def make(seed=0, recipes=12, prompts=8, seeds=4, race=True, effect=None, **frame):
        rng = np.random.default_rng(seed)
        values, prompt_of, truth = worlds.scores(rng, recipes, prompts, seeds, effect)
        made = worlds.halving(values, prompt_of) if race else None
        return checked(worlds.frame(values, prompt_of, made, **frame)), truth

    return make
