"""Designs: what is crossed, what is drawn, and that dummies and conditions are respected."""

from collections import Counter
from itertools import combinations

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from teststrip.errors import ConfigError
from teststrip.study.config import StudyConfig
from teststrip.study.plan import Recipes, baseline_point, fixed_points
from teststrip.study.space import Param, Space


@pytest.fixture
def study(config):
    return lambda **changes: StudyConfig.model_validate(config(**changes))


def points(study):
    found = fixed_points(study)
    assert found is not None
    return found[0]


def test_a_grid_crosses_everything_but_dummies_and_respects_conditions(study):
    space = {
        "scheduler": ["ddim", "euler"],
        "eta": {"choice": [0.0, 0.5, 1.0], "when": {"scheduler": "ddim"}},
        "steps": [10, 20],
        "dummy_a": [0, 1],
    }

    found = points(study(space=space))

    assert len(found) == (3 + 1) * 2
    assert all(("eta" in p) == (p["scheduler"] == "ddim") for p in found)
    assert Counter(p["dummy_a"] for p in found) == {0: 4, 1: 4}


def test_refused_combinations_are_left_out_and_counted(study):
    made = fixed_points(
        study(space={"guidance": [1, 5], "rescale": [0.0, 0.5]}, constraints=["guidance < 9"])
    )

    assert made is not None
    assert (len(made[0]), made[1]) == (3, 1), "rescale without guidance is no recipe"


def test_a_space_that_leaves_nothing_says_why(study):
    with pytest.raises(ConfigError, match="breaks the constraint steps > 90"):
        fixed_points(study(constraints=["steps > 90"]))


def test_a_sobol_design_fills_each_range_evenly(study):
    space = {
        "guidance": {"float": [1, 9]},
        "steps": {"int": [10, 50]},
        "scheduler": ["ddim", "euler"],
        "dummy_a": {"float": [0, 1]},
    }

    found = points(study(space=space, design={"kind": "sobol", "trials": 64}))

    assert len(found) == 64
    for name, low, high in (("guidance", 1, 9), ("dummy_a", 0, 1)):
        counts, _ = np.histogram([p[name] for p in found], bins=8, range=(low, high))
        assert counts.tolist() == [8] * 8, name
    assert 28 <= sum(p["scheduler"] == "ddim" for p in found) <= 36


def test_a_sobol_design_repeats_no_recipe_and_ends_when_there_are_no_more(study):
    found = points(study(design={"kind": "sobol", "trials": 50}))

    assert len(found) == 6
    assert len({str(p) for p in found}) == 6


def test_a_random_design_draws_each_value_about_as_often_and_by_itself(study):
    space = {"guidance": {"float": [1, 9]}, "scheduler": ["ddim", "euler"], "dummy_a": [0, 1]}

    found = points(study(space=space, design={"kind": "random", "trials": 400}))

    assert len(found) == 400
    guidance = np.array([p["guidance"] for p in found])
    euler = np.array([p["scheduler"] == "euler" for p in found])
    assert stats.kstest((guidance - 1) / 8, "uniform").pvalue > 0.001
    assert stats.binomtest(int(euler.sum()), 400).pvalue > 0.001
    assert abs(np.corrcoef(guidance, euler)[0, 1]) < 0.15


def test_a_random_design_keeps_constraints_and_repeats_no_recipe(study):
    found = points(study(design={"kind": "random", "trials": 50}, constraints=["steps < 30"]))

    assert len(found) == len({str(p) for p in found}) == 4
    assert {p["steps"] for p in found} == {10, 20}


def test_a_full_factorial_crosses_the_ends(study):
    space = {"steps": {"int": [10, 50]}, "guidance": {"float": [2, 8]}, "scheduler": ["ddim"]}

    found = points(study(space=space, design={"kind": "factorial"}))

    assert {(p["steps"], p["guidance"]) for p in found} == {
        (a, b) for a in (10, 50) for b in (2, 8)
    }


def test_half_a_factorial_is_an_orthogonal_array(study):
    space = {
        "steps": [10, 20],
        "guidance": [3, 7],
        "scheduler": ["ddim", "euler"],
        "clip_skip": [0, 1],
    }

    found = points(study(space=space, design={"kind": "factorial", "trials": 8}))

    for a, b in combinations(space, 2):
        pairs = Counter((p[a], p[b]) for p in found)
        assert set(pairs.values()) == {2}, (a, b)


@pytest.mark.parametrize("kind", ["sobol", "random"])
def test_designs_are_the_same_in_every_process_and_differ_by_seed(study, kind):
    design = {"kind": kind, "trials": 8}
    space = {"guidance": {"float": [1, 9]}}

    first, again, other = (
        points(study(space=space, design=design | {"seed": seed})) for seed in (1, 1, 2)
    )

    assert first == again != other


PARAMS = st.one_of(
    st.lists(st.integers(0, 99), min_size=1, max_size=6, unique=True).map(lambda v: {"choice": v}),
    st.tuples(st.integers(1, 20), st.integers(21, 90)).map(lambda v: {"int": v}),
    st.tuples(st.integers(1, 20), st.integers(21, 90)).map(lambda v: {"int": v, "log": True}),
    st.tuples(st.floats(0.1, 2), st.floats(3, 9)).map(lambda v: {"float": v, "log": True}),
    st.tuples(st.floats(0.1, 2), st.floats(3, 9)).map(lambda v: {"float": v, "step": 0.25}),
)


@given(data=PARAMS, share=st.floats(0, 1, exclude_max=True))
def test_a_drawn_value_lies_in_its_range(data, share):
    param = Param.model_validate(data)

    assert param.holds(param.at(share))


@given(data=PARAMS, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=30)
def test_what_optuna_suggests_lies_in_the_range(data, seed):
    param = Param.model_validate(data)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))

    assert param.holds(param.suggest(study.ask(), "x"))


def test_choices_that_are_objects_go_through_optuna_as_json():
    param = Param.model_validate([[], [{"path": "a.safetensors", "scale": 0.5}]])

    assert [param.decode(param.encode(v)) for v in param.choice or ()] == list(param.choice or ())
    assert param.encode([]) == "[]"


def test_a_parameter_comes_after_those_its_condition_names():
    space = Space(
        {
            "eta": Param.model_validate({"choice": [0, 1], "when": {"scheduler": "ddim"}}),
            "scheduler": Param.model_validate(["ddim"]),
        }
    )

    assert list(space.params) == ["scheduler", "eta"]


def test_the_baseline_is_a_point_only_where_the_space_holds_it(study):
    inside = study(baseline={"scheduler": "ddim", "steps": 20})
    outside = study(baseline={"scheduler": "ddim", "steps": 25})

    assert baseline_point(inside) == {"scheduler": "ddim", "steps": 20}
    assert Recipes(inside)({"scheduler": "ddim", "steps": 20}) == inside.baseline_recipe
    assert baseline_point(outside) is None
