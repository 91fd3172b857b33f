# ruff: noqa: D102, S101 - the names of tests are sentences, and tests assert
"""What every generator, scorer and tracker must do, as tests to inherit from.

    class TestMyGenerator(GeneratorConformance):
        @pytest.fixture
        def generator(self):
            with closing(MyGenerator(...)) as generator:
                yield generator

Each class states the contract of one protocol in `teststrip.protocols`, one law a test.
"""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from teststrip import png
from teststrip.protocols import Generator, Scorer, Tracker
from teststrip.recipe import Block, Recipe, Request
from teststrip.records import Failure, Generation, Progress


def some_requests(recipe: Recipe, count: int = 3) -> list[Request]:
    """Requests that differ in prompt and seed."""
    prompts = ("a red apple", "a cat", "a lighthouse in a storm")
    return [
        Request(recipe=recipe, block=Block(prompt=prompts[i % 3], seed=i)) for i in range(count)
    ]


class GeneratorConformance:
    """The contract of `protocols.Generator`. Give the fixture `generator`.

    Override `recipe` where the default model would be too slow or is not there.
    """

    @pytest.fixture
    def recipe(self) -> Recipe:
        """A recipe that the generator can make."""
        return Recipe(steps=2)

    @pytest.fixture
    def generator(self) -> Any:
        """The generator under test."""
        raise NotImplementedError("give a fixture `generator`")

    def test_it_has_the_shape_of_a_generator(self, generator: Generator) -> None:
        assert isinstance(generator, Generator)

    def test_every_request_is_answered_exactly_once(
        self, generator: Generator, recipe: Recipe
    ) -> None:
        requests = some_requests(recipe)

        outcomes = list(generator.generate(requests))

        answered = sorted((o.request for o in outcomes), key=lambda r: r.block.seed)
        assert answered == requests

    def test_a_generation_is_a_png_with_its_cost(
        self, generator: Generator, recipe: Recipe
    ) -> None:
        for made in _made(generator, some_requests(recipe)):
            pixels = png.pixels(made.png)
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert made.seconds >= 0
            assert made.model_calls >= 0

    def test_the_image_key_is_that_of_recipe_block_and_fingerprint(
        self, generator: Generator, recipe: Recipe
    ) -> None:
        fingerprint = generator.fingerprint(recipe)

        for made in _made(generator, some_requests(recipe)):
            assert made.image_key == made.request.image_key(fingerprint)

    def test_the_fingerprint_is_stable(self, generator: Generator, recipe: Recipe) -> None:
        assert generator.fingerprint(recipe) == generator.fingerprint(recipe)

    def test_the_same_request_gives_the_same_picture(
        self, generator: Generator, recipe: Recipe
    ) -> None:
        request = some_requests(recipe, 1)

        first, second = _made(generator, request), _made(generator, request)

        assert (png.pixels(first[0].png) == png.pixels(second[0].png)).all()

    def test_another_seed_gives_another_picture(self, generator: Generator, recipe: Recipe) -> None:
        requests = [Request(recipe=recipe, block=Block(prompt="a cat", seed=s)) for s in (1, 2)]

        made = {g.request.block.seed: g for g in _made(generator, requests)}

        assert (png.pixels(made[1].png) != png.pixels(made[2].png)).any()

    def test_no_requests_give_no_outcomes(self, generator: Generator) -> None:
        assert list(generator.generate([])) == []

    def test_a_closed_iterator_leaves_the_generator_usable(
        self, generator: Generator, recipe: Recipe
    ) -> None:
        outcomes = iter(generator.generate(some_requests(recipe)))
        next(outcomes)
        close = getattr(outcomes, "close", None)
        if close is not None:
            close()

        assert len(_made(generator, some_requests(recipe, 1))) == 1

    def test_progress_counts_up_to_its_own_total(
        self, generator: Generator, recipe: Recipe
    ) -> None:
        seen: list[Progress] = []

        list(generator.generate(some_requests(recipe, 1), seen.append))

        done = [p.calls_done for p in seen]
        assert done == sorted(done)
        assert all(p.calls_done <= p.calls_total for p in seen)

    def test_closing_twice_is_harmless(self, generator: Generator) -> None:
        generator.close()
        generator.close()


class ScorerConformance:
    """The contract of `protocols.Scorer`. Give the fixtures `scorer` and `generations`."""

    @pytest.fixture
    def scorer(self) -> Any:
        """The scorer under test."""
        raise NotImplementedError("give a fixture `scorer`")

    @pytest.fixture
    def generations(self) -> Any:
        """At least two pictures that it can judge."""
        raise NotImplementedError("give a fixture `generations`")

    def test_it_has_the_shape_of_a_scorer(self, scorer: Scorer) -> None:
        assert isinstance(scorer, Scorer)

    def test_columns_carry_name_and_version(self, scorer: Scorer) -> None:
        assert scorer.columns
        for column, higher_is_better in scorer.columns.items():
            name, _, version = column.rpartition("@")
            assert name
            assert version, f"{column!r} names no version: write name@version"
            assert isinstance(higher_is_better, bool)

    def test_each_picture_gets_every_column(
        self, scorer: Scorer, generations: Sequence[Generation]
    ) -> None:
        answers = scorer.score(generations)

        assert len(answers) == len(generations)
        for answer in answers:
            assert set(answer) == set(scorer.columns)
            assert all(isinstance(value, float) for value in answer.values())

    def test_the_numbers_do_not_hang_on_the_batch(
        self, scorer: Scorer, generations: Sequence[Generation]
    ) -> None:
        together = scorer.score(generations)
        alone = [scorer.score([generation])[0] for generation in generations]
        reverse = scorer.score(generations[::-1])[::-1]

        for one, other, third in zip(together, alone, reverse, strict=True):
            assert one == pytest.approx(other, rel=1e-4, abs=1e-5, nan_ok=True)
            assert one == pytest.approx(third, rel=1e-4, abs=1e-5, nan_ok=True)

    def test_what_is_no_picture_gets_nan_and_its_neighbours_their_numbers(
        self, scorer: Scorer, generations: Sequence[Generation]
    ) -> None:
        good = generations[0]
        broken = Generation(good.request, "0" * 24, b"no picture", 0.0, 0)

        answers = scorer.score([broken, good])

        assert all(math.isnan(value) for value in answers[0].values())
        assert answers[1] == pytest.approx(scorer.score([good])[0], rel=1e-4, nan_ok=True)

    def test_an_empty_batch_gives_nothing(self, scorer: Scorer) -> None:
        assert scorer.score([]) == []


class TrackerConformance:
    """The contract of `protocols.Tracker`: every call may be repeated. Give `tracker`."""

    @pytest.fixture
    def tracker(self) -> Any:
        """The tracker under test, on an empty store."""
        raise NotImplementedError("give a fixture `tracker`")

    def test_it_has_the_shape_of_a_tracker(self, tracker: Tracker) -> None:
        assert isinstance(tracker, Tracker)

    def test_a_study_that_starts_twice_is_one_run(self, tracker: Tracker) -> None:
        config = {"name": "s", "seeds": {"per_prompt": 2}}

        assert tracker.start_study("s", config) == tracker.start_study("s", config)

    def test_two_studies_are_two_runs(self, tracker: Tracker) -> None:
        assert tracker.start_study("a", {"name": "a"}) != tracker.start_study("b", {"name": "b"})

    def test_a_recipe_that_is_logged_twice_is_one_run(self, tracker: Tracker) -> None:
        tracker.start_study("s", {"name": "s"})

        first, second = (self._log(tracker, Recipe(steps=5)) for _ in range(2))

        assert first == second

    def test_two_recipes_are_two_runs(self, tracker: Tracker) -> None:
        tracker.start_study("s", {"name": "s"})

        assert self._log(tracker, Recipe(steps=5)) != self._log(tracker, Recipe(steps=6))

    def test_a_study_may_be_finished_twice_and_gone_on_with(self, tracker: Tracker) -> None:
        run = tracker.start_study("s", {"name": "s"})
        for _ in range(2):
            tracker.finish_study("s", {"images": 3.0}, {"images.parquet": b"x"}, "finished")

        assert tracker.start_study("s", {"name": "s"}) == run
        tracker.finish_study("s", {"images": 4.0}, {}, "budget")

    @staticmethod
    def _log(tracker: Tracker, recipe: Recipe) -> str:
        metrics = {"clip_small@1": 0.25, "seconds": 1.5, "blocks": 4.0}
        images = {"000-abc.png": b"\x89PNG\r\n\x1a\n"}
        return tracker.log_recipe("s", recipe, {"steps": recipe.steps}, metrics, images, "done")


def _made(generator: Generator, requests: Sequence[Request]) -> list[Generation]:
    outcomes = list(generator.generate(requests))
    failures = [o.reason for o in outcomes if isinstance(o, Failure)]
    assert not failures, failures
    return [o for o in outcomes if isinstance(o, Generation)]
