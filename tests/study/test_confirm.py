"""Confirmation happens on prompts and seeds that the search never saw, and once."""

import pandas as pd
import pytest

from teststrip import Study
from teststrip.errors import ConfigError, ModelError, PluginError, StudyError
from teststrip.study.config import check
from teststrip.testing.synthetic import COLUMN, SyntheticScorer


@pytest.fixture
def make(config, counting, tmp_path):
    def make(**changes):
        generator = counting()
        return Study(config(**changes), generator, [SyntheticScorer()], tmp_path), generator

    return make


def test_the_leaders_and_the_baseline_run_on_fresh_prompts_and_seeds(make):
    searched = make()[0].run()
    study, generator = make()

    found = study.confirm(top=2, seeds=5)

    assert len(generator.calls) == found.images == found.images_now == (2 + 1) * 2 * 5
    table = pd.read_parquet(found.table)
    held, search = table[table.split == "held_out"], table[table.split == "search"]
    assert len(search) == searched.images
    assert not set(held.prompt_id) & set(search.prompt_id)
    assert not set(held.seed) & set(search.seed)
    assert held.recipe_id.nunique() == 3
    assert searched.best.recipe_id in {*found.recipes, found.baseline}
    for recipe_id, mean in found.means.items():
        mine = held[held.recipe_id == recipe_id].groupby("prompt_id")[COLUMN].mean()
        assert mine.mean() == pytest.approx(mean)
    assert found.gains[found.baseline] == 0


def test_confirming_again_makes_nothing_and_changes_nothing(make):
    make()[0].run()
    first = make()[0].confirm()

    study, generator = make()
    again = study.confirm()

    assert generator.calls == []
    assert (again.means, again.images_now) == (first.means, 0)
    assert study.run().ending == "finished"


def test_a_budget_that_grows_afterwards_keeps_the_confirmed_rows(make):
    make(budget={"images": 30})[0].run()
    make(budget={"images": 30})[0].confirm(top=1)

    result = make()[0].run()

    table = pd.read_parquet(result.table)
    assert result.ending == "finished"
    assert (table.split == "held_out").sum() == 2 * 2 * 2
    assert (table.split == "search").sum() == result.images


def test_confirming_again_adds_and_forgets_nothing(make):
    make()[0].run()
    one = make()[0].confirm(top=1, seeds=3)

    study, generator = make()
    more = study.confirm(top=2, seeds=1)

    table = pd.read_parquet(more.table)
    held = table[table.split == "held_out"].groupby("recipe_id").size()
    first, second = more.recipes
    assert one.recipes == (first,)
    assert len(generator.calls) == more.images_now == 2 * 1
    assert held.to_dict() == {more.baseline: 2 * 3, first: 2 * 3, second: 2 * 1}
    assert set(more.gains) == {more.baseline, first, second}
    rounds = study.folder.read()["confirm_asked"]["rounds"]
    assert [(r["recipes"], r["seeds"]) for r in rounds] == [
        ([first], 3),
        ([first, second], 1),
    ]


def test_the_same_confirmation_again_is_no_new_look(make):
    make()[0].run()
    for _ in range(2):
        found = make()[0].confirm(top=2, seeds=2)

    assert len(found.asked.rounds) == 1


def test_a_look_is_counted_even_if_it_is_stopped_half_way(make):
    make()[0].run()
    study, generator = make()

    def stop(event):
        if generator.calls:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.confirm(top=2, seeds=2, on_event=stop)

    assert len(study.folder.read()["confirm_asked"]["rounds"]) == 1
    make()[0].confirm(top=1, seeds=1)
    table = pd.read_parquet(study.folder.table)
    assert table[table.split == "held_out"].recipe_id.nunique() == 3


def test_the_order_of_the_prompts_moves_none_of_them(config):
    prompts = [f"prompt {i}" for i in range(40)]
    orders = [prompts, prompts[::-1], prompts[20:] + prompts[:20]]

    splits = [
        check(config(prompts={"items": order, "held_out": 0.25}), "study").prompts.split()
        for order in orders
    ]

    searched, held = (
        [{p.text for p in part} for part in side] for side in zip(*splits, strict=True)
    )
    assert searched[0] == searched[1] == searched[2]
    assert held[0] == held[1] == held[2]
    assert len(held[0]) == 10
    assert not searched[0] & held[0]


def test_a_study_whose_only_recipe_is_the_baseline_has_nothing_to_confirm(make):
    space = {"steps": [25]}
    make(space=space)[0].run()

    with pytest.raises(StudyError, match="no recipe but the baseline"):
        make(space=space)[0].confirm()


def test_what_has_not_ended_cannot_be_confirmed(make):
    with pytest.raises(StudyError, match="has not ended"):
        make()[0].confirm()


def test_without_held_out_prompts_there_is_nothing_to_confirm_on(make, config):
    prompts = [f"prompt {i}" for i in range(8)]
    make(prompts=prompts)[0].run()

    with pytest.raises(ConfigError, match="no prompts are held out"):
        make(prompts=prompts)[0].confirm()


def test_a_mended_config_may_take_the_name_of_a_study_that_made_nothing(config, counting, tmp_path):
    class NoModel(counting):
        def fingerprint(self, recipe):
            raise ModelError(f"no model {recipe.model!r}")

    wrong = config(recipe={"model": "wrong"})
    with pytest.raises(ModelError):
        Study(wrong, NoModel(), [SyntheticScorer()], tmp_path).run()

    right = config(recipe={"model": "right"})
    result = Study(right, counting(), [SyntheticScorer()], tmp_path).run()

    assert result.best.model == "right"
    assert set(pd.read_parquet(result.table)["recipe.model"]) == {"right"}


def test_a_generator_or_scorer_that_cannot_be_loaded_leaves_no_trace(config, tmp_path):
    for changes in ({"generator": "nowhere:Thing"}, {"scorers": ["synthetic", "nope"]}):
        with pytest.raises(PluginError):
            Study(config(**changes), home=tmp_path).run()

    generator = {"name": "synthetic", "options": {"colour": 1}}
    with pytest.raises(PluginError, match="unexpected keyword argument 'colour'"):
        Study(config(generator=generator), home=tmp_path).run()
    assert Study.list(tmp_path) == []
