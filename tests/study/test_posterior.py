"""The posterior race: its model is the textbooks' mixed model, its spending is what it says."""

import math

import numpy as np
import pytest

from teststrip.study.effects import Variances, estimate, fit_variances
from teststrip.study.race import Entrant, Posterior, ranked
from teststrip.testing.worlds import ScoreMatrix, paired_world

TRUE = Variances(recipe=0.25**2, taste=0.25**2, residual=0.5**2)


def names(count):
    return [str(i) for i in range(count)]


def world(seed, recipes=48, prompts=8, seeds=4):
    """The unstructured world that the racing rules are simulated with."""
    draw = np.random.default_rng(seed).standard_normal
    prompt = np.tile(np.arange(prompts), seeds)
    truth = 0.25 * draw(recipes)
    shared = draw(prompts)[prompt] + 0.6 * draw(len(prompt))
    taste = 0.25 * draw((recipes, prompts))[:, prompt]
    values = truth[:, None] + shared + taste + 0.5 * draw((recipes, len(prompt)))
    return truth, ScoreMatrix(values[None], [f"p{i}" for i in prompt])


def unequal(seed, recipes=12):
    """Some recipes with many blocks, some with few, and a failed cell."""
    _, scores = world(seed, recipes)
    values = scores.values[0].copy()
    blocks = np.random.default_rng(seed).integers(2, 33, recipes)
    values[np.arange(32)[None, :] >= blocks[:, None]] = math.nan
    values[int(np.argmax(blocks)), 0] = math.nan
    columns = np.flatnonzero(np.isfinite(values).any(axis=0))
    return values[:, columns], [scores.names[i] for i in columns]


@pytest.mark.parametrize("seed", range(5))
def test_the_estimates_solve_hendersons_mixed_model_equations(seed):
    values, prompts = unequal(seed)
    rows, columns = np.nonzero(np.isfinite(values))
    index = np.array([int(p[1:]) for p in prompts])
    fixed = np.eye(values.shape[1])[columns]
    recipe = np.eye(len(values))[rows]
    taste = np.eye(len(values) * 8)[rows * 8 + index[columns]]
    both = np.hstack([fixed, recipe, taste])
    ratios = [0.0] * fixed.shape[1]
    ratios += [TRUE.residual / TRUE.recipe] * recipe.shape[1]
    ratios += [TRUE.residual / TRUE.taste] * taste.shape[1]
    inverse = np.linalg.inv(both.T @ both + np.diag(ratios))
    solved = inverse @ both.T @ values[rows, columns]
    mine = slice(fixed.shape[1], fixed.shape[1] + len(values))

    found = estimate(values, prompts, TRUE)

    assert found.mean == pytest.approx(solved[mine], abs=1e-9)
    covariance = np.diag(found.variance) + found.pull @ found.blocks @ found.pull.T
    assert covariance == pytest.approx(TRUE.residual * inverse[mine, mine], abs=1e-9)


def test_a_recipe_that_saw_only_easy_blocks_is_not_taken_for_good():
    block = np.array([5.0, 5.0, -5.0, -5.0])
    values = np.array([[0.0] * 4, [0.1] * 4, [-0.1, -0.1, math.nan, math.nan]]) + block

    mean = estimate(values, ["a", "b", "c", "d"], TRUE).mean

    assert mean[2] < mean[0] < mean[1]


def test_the_variances_of_a_large_world_are_found():
    _, scores = world(0, recipes=300, prompts=16)

    found = fit_variances(scores.values[0], scores.names)

    assert found.recipe == pytest.approx(TRUE.recipe, rel=0.3)
    assert found.taste == pytest.approx(TRUE.taste, rel=0.3)
    assert found.residual == pytest.approx(TRUE.residual, rel=0.1)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_race_is_the_same_in_any_unit(scale):
    _, scores = world(1)
    other = ScoreMatrix(scores.values * scale + 3 * scale, scores.names)
    races = [Posterior(s, 32) for s in (scores, other)]

    for race in races:
        race.run([Entrant(name) for name in names(48)])

    assert races[0].reached == races[1].reached


@pytest.mark.parametrize("ask", [None, 5])
@pytest.mark.parametrize("seed", range(8))
def test_the_best_of_a_noiseless_world_sees_all_blocks(seed, ask):
    truth, scores = paired_world(seed)
    race = Posterior(scores, 32, keep=2)

    for i in range(0, 16, ask or 16):
        race.run([Entrant(name) for name in names(16)[i : i + (ask or 16)]])

    assert race.reached[str(np.argmax(truth))] == 32
    assert race.reached == scores.fetched
    assert sum(race.reached.values()) < 0.5 * 16 * 32


def test_a_quarter_of_the_full_grid_finds_what_the_full_grid_finds():
    images, regret, full = [], [], []
    for seed in range(12):
        truth, scores = world(seed)
        race = Posterior(scores, 32)
        race.run([Entrant(name) for name in names(48)])
        deepest = [i for i in names(48) if race.reached[i] == 32]
        chosen = int(ranked(deepest, 32, scores)[0])
        images.append(sum(race.reached.values()))
        regret.append(truth.max() - truth[chosen])
        full.append(truth.max() - truth[np.argmax(scores.values[0].mean(axis=1))])

    assert np.mean(images) < 0.29 * 48 * 32
    assert np.mean(regret) - np.mean(full) < 0.2 * 0.25


@pytest.mark.parametrize("seed", range(3))
def test_the_same_scores_give_the_same_race(seed):
    runs = []
    for _ in range(2):
        _, scores = world(seed, recipes=12)
        race = Posterior(scores, 32, seed=3)
        race.run([Entrant(name) for name in names(12)])
        runs.append(race.reached)

    assert runs[0] == runs[1]


def test_failed_cells_are_never_bad_scores():
    _, scores = paired_world(3, recipes=8, noise=0.1)
    scores.values[0, 0] = scores.values[0].max(axis=0) + 1
    scores.values[0, 0, [1, 9, 17]] = math.nan
    scores.values[0, 1, ::2] = math.nan
    race = Posterior(scores, 32, start=4)

    race.run([Entrant(name) for name in names(8)])

    assert race.reached["0"] == 32
    assert race.reached["1"] == 4


def test_when_all_fail_the_race_ends():
    scores = ScoreMatrix(np.full((1, 3, 8), math.nan))
    race = Posterior(scores, 8)

    race.run([Entrant(name) for name in names(3)])

    assert set(race.reached.values()) == {2}


@pytest.mark.parametrize("recipes", [1, 2])
@pytest.mark.parametrize("top", [1, 2, 5])
def test_small_and_equal_worlds_end(recipes, top):
    scores = ScoreMatrix(np.ones((1, recipes, top)))
    race = Posterior(scores, top)

    race.run([Entrant(name) for name in names(recipes)])

    assert max(race.reached.values()) == top
