"""A study runs to its end on every design and race, and keeps its promises."""

import pandas as pd
import pytest

from teststrip import Study
from teststrip.testing.synthetic import SyntheticGenerator, SyntheticScorer

DESIGNS = [
    {"kind": "grid"},
    {"kind": "sobol", "trials": 5},
    {"kind": "factorial"},
    {"kind": "tpe", "trials": 10},
    {"kind": "gp", "trials": 8},
    {"kind": "nsga2", "trials": 10},
]


@pytest.mark.parametrize("race", ["halving", "wilcoxon", "none"])
@pytest.mark.parametrize("design", DESIGNS, ids=lambda d: d["kind"])
def test_every_design_runs_with_every_race(config, design, race, tmp_path):
    study = Study(config(design=design, race={"kind": race, "top": 8, "start": 2}), home=tmp_path)

    result = study.run()

    table = pd.read_parquet(result.table)
    assert study.state == "finished"
    assert len(table) == result.images == table.image_key.nunique()
    assert (table.status == "ok").all()
    assert table.recipe_id.nunique() == result.recipes
    for _, group in table.groupby("recipe_id"):
        assert sorted(group.block) == list(range(len(group))), "the first n blocks, for all"
    assert table.groupby("block")[["prompt_id", "seed"]].nunique().eq(1).all().all()


def test_a_finished_study_is_left_as_it_is(config, tmp_path):
    generator = SyntheticGenerator()
    first = Study(config(), generator, [SyntheticScorer()], tmp_path).run()

    again = Study(config(), generator, [SyntheticScorer()], tmp_path).run()

    assert again.images_now == 0
    assert again.best == first.best
