"""The synthetic generator and scorer keep the contracts that they are there to test others by."""

import pytest

from teststrip.recipe import Recipe
from teststrip.testing.conformance import (
    GeneratorConformance,
    ScorerConformance,
    TrackerConformance,
    some_requests,
)
from teststrip.testing.memory import MemoryTracker
from teststrip.testing.synthetic import SyntheticGenerator, SyntheticScorer


class TestSyntheticGenerator(GeneratorConformance):
    @pytest.fixture
    def generator(self):
        return SyntheticGenerator(seed=3)


class TestSyntheticScorer(ScorerConformance):
    @pytest.fixture
    def scorer(self):
        return SyntheticScorer()

    @pytest.fixture
    def generations(self):
        return list(SyntheticGenerator(seed=3).generate(some_requests(Recipe(steps=2), 5)))


class TestMemoryTracker(TrackerConformance):
    @pytest.fixture
    def tracker(self):
        return MemoryTracker()
