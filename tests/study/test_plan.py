"""Plans: images stage by stage as the run then makes them, and time from three images."""

import pytest

from teststrip.errors import ConfigError
from teststrip.recipe import Recipe
from teststrip.study import Study
from teststrip.study.config import StudyConfig
from teststrip.study.entries import entries
from teststrip.study.plan import make_plan
from teststrip.study.probe import NoProbe, Probe, Sample, fitted, measure, work
from teststrip.testing.synthetic import SyntheticGenerator

SAMPLER = {"kind": "tpe", "trials": 8}


class SlowGenerator(SyntheticGenerator):
    """Takes 50 ms for an image and 5 ms for each of its model calls; the first one 1 s more."""

    def generate(self, requests, on_progress=None):
        import time

        for request in requests:
            time.sleep(
                0.05 + 0.005 * request.recipe.model_calls + 1.0 * (not self.__dict__.get("n"))
            )
            self.n = True
            yield from super().generate([request], on_progress)


class NoModel(SyntheticGenerator):
    """A model that is not there."""

    def fingerprint(self, recipe):
        raise OSError("no such model")


@pytest.fixture
def study(config):
    return lambda **changes: StudyConfig.model_validate(config(**changes))


def test_the_stages_add_up_and_each_says_its_images(study):
    plan = make_plan(study())

    assert [(s.name, s.recipes, s.blocks, s.images) for s in plan.stages] == [
        ("baseline", 1, 8, 8),
        ("rung 1", 6, 2, 12),
        ("rung 2", 3, 2, 6),
        ("rung 3", 3, 4, 12),
    ]
    assert sum(s.images for s in plan.stages) == plan.images_expected == 38
    assert plan.confirmation is not None
    assert plan.confirmation.images == 4 * 2 * 2
    assert "rung 1             6 recipes x 2 blocks = 12 images" in str(plan)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"baseline": {"scheduler": "ddim", "steps": 10}},
        {"budget": {"images": 30}},
        {"race": {"kind": "none"}},
        {"design": {"kind": "sobol", "trials": 4}},
        {"race": {"start": 3, "top": 11, "eta": 3, "keep": 1}},
    ],
)
def test_a_fixed_design_makes_just_the_images_that_were_planned(config, tmp_path, changes):
    study = Study(config(**changes), home=tmp_path)

    assert study.run().images == study.plan().images_expected


def test_a_sampler_makes_about_what_was_planned_and_never_more_than_at_most(config, tmp_path):
    study = Study(config(design=SAMPLER), home=tmp_path)
    plan = study.plan()

    made = study.run().images

    assert made <= plan.images_at_most
    assert made == pytest.approx(plan.images_expected, rel=0.5)
    assert any("about" in str(stage) for stage in plan.stages[1:])


def test_a_recipe_that_is_the_baseline_is_not_made_twice(study):
    plan = make_plan(study(baseline={"scheduler": "ddim", "steps": 10}))

    assert (plan.recipes, plan.racers, plan.images_full_grid) == (6, 5, 6 * 8)


def test_time_follows_the_recipes(study):
    config = study()

    plan = make_plan(config, lambda recipe: float(recipe.model_calls))

    assert plan.stages[0].seconds == 8 * 25
    assert plan.stages[1].seconds == 12 * 20, "10, 20 and 30 steps alike"
    assert plan.seconds == pytest.approx(8 * 25 + 30 * 20 + 4 * (25 + 3 * 20))
    assert make_plan(config).seconds is None


def test_twice_the_prompts_are_twice_the_blocks_search_and_confirmation_alike(study):
    config = study()

    once, twice = make_plan(config), make_plan(config, prompts_times=2)

    assert (twice.blocks, twice.prompts_raced) == (2 * once.blocks, 2 * once.prompts_raced)
    assert twice.prompts_held_out == 2 * once.prompts_held_out
    assert twice.seeds_raced == once.seeds_raced


def test_a_budget_that_cannot_pay_the_first_rung_is_refused(study):
    with pytest.raises(ConfigError, match="does not pay for the first rung: 20 images"):
        make_plan(study(budget={"images": 19}))


def test_a_probe_finds_the_line_and_leaves_the_start_out(study):
    config = study(generator={"name": f"{__name__}:SlowGenerator"})

    probe = measure(config, entries(config))

    calls = Recipe(steps=20, scheduler="ddim")
    assert probe.seconds(calls) == pytest.approx(0.15, rel=0.5)
    assert any("was left out" in note for note in probe.notes)
    assert any("fuller batches are faster" in note for note in probe.notes)
    assert len(probe.samples) == 3


def test_a_probe_writes_nothing(study, tmp_path, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    config = study()

    measure(config, entries(config))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator": {"name": f"{__name__}:NoModel"}}, "OSError: no such model"),
        ({"generator": "nobody"}, "unknown generator 'nobody'"),
        ({"scorers": ["nobody"], "objectives": ["seconds"]}, "unknown scorer 'nobody'"),
    ],
)
def test_a_probe_that_cannot_be_made_says_why(study, changes, message):
    config = study(**changes)

    with pytest.raises(NoProbe, match=message):
        measure(config, entries(config))


def samples(seconds, forwards=(8.0, 4.0, 16.0)):
    return [Sample("r", f, 2, s) for f, s in zip(forwards, seconds, strict=True)]


def test_where_every_forward_is_filled_up_an_image_pays_for_its_own_rows_only():
    """24 rows, 12 guided images in each: a 12th of what an image takes alone, decode apart."""
    alone = fitted(samples([0.9, 0.5, 1.7]), 0.0, 0.0, None)
    padded = fitted(samples([0.9, 0.5, 1.7]), 0.0, 0.0, 24)

    assert alone.start_s == padded.start_s == pytest.approx(0.1)
    recipe = Recipe(steps=8, scheduler="ddim", guidance=5)
    assert alone.seconds(recipe) == pytest.approx(0.9)
    assert padded.seconds(recipe) == pytest.approx(0.1 + 0.8 / 12)


@pytest.mark.parametrize("seconds", [[0.5, 0.5, 0.5], [0.1, 0.9, 0.2], [5.0, 0.1, 4.0]])
def test_no_measurement_gives_a_negative_time(seconds):
    probe = fitted(samples(seconds), 0.0, 0.0, None)

    assert probe.start_s >= 0
    assert probe.per_call_s >= 0
    assert probe.seconds(Recipe(steps=1, scheduler="ddim")) >= 0


def test_recipes_of_one_length_have_one_speed():
    probe = fitted(samples([0.4, 0.4, 0.4], (8.0, 8.0, 8.0)), 0.1, 0.0, None)

    assert isinstance(probe, Probe)
    assert probe.seconds(Recipe(steps=8, scheduler="ddim", guidance=5)) == pytest.approx(0.5)


def test_work_counts_rows_and_pixels():
    recipe = Recipe(steps=10, scheduler="ddim", guidance=5)

    assert work(recipe) == 2 * work(recipe.changed(guidance=1))
    assert work(recipe.changed(width=1024, height=512)) == 2 * work(recipe)
