"""F-race: Friedman's test as scipy has it, and a race that stops what is worse and nothing else."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from teststrip.study.frace import friedman, unit_means, worse_than_best
from teststrip.study.race import Entrant, FRace
from teststrip.testing.worlds import ScoreMatrix, paired_world


def names(count):
    return [str(i) for i in range(count)]


@given(
    units=st.integers(5, 20),
    recipes=st.integers(3, 12),
    seed=st.integers(0, 10_000),
    tied=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_the_statistic_is_that_of_scipy(units, recipes, seed, tied):
    values = np.random.default_rng(seed).standard_normal((recipes, units))
    values = np.round(values) if tied else values

    mine, _ = friedman(values)

    assert mine == pytest.approx(stats.friedmanchisquare(*values).statistic, abs=1e-9)


def test_conovers_comparisons_are_those_of_the_book():
    # Conover 1999, 5.8, example 1: twelve homeowners rank four grasses; the rank sums are 38,
    # 23.5, 24.5, 34; T1 = 8.097, and two grasses differ (.05) where sums are 11.49 apart
    ranks = np.array(
        [
            [4, 4, 3, 3, 4, 2, 1, 2, 3.5, 4, 4, 3.5],
            [3, 2, 1.5, 1, 2, 2, 3, 4, 1, 1, 2, 1],
            [2, 3, 1.5, 2, 1, 2, 2, 1, 2, 3, 3, 2],
            [1, 1, 4, 4, 3, 4, 4, 3, 3.5, 2, 1, 3.5],
        ]
    )

    statistic, again = friedman(ranks)

    assert again.sum(axis=1).tolist() == [38, 23.5, 24.5, 34]
    assert statistic == pytest.approx(8.097, abs=5e-4)
    assert worse_than_best(ranks, 0.05).tolist() == [False, True, True, False]


def test_below_five_units_there_is_no_test():
    clear = np.tile(np.arange(4.0)[:, None], (1, 5))

    assert worse_than_best(clear, 0.05).tolist() == [True, True, True, False]
    assert not worse_than_best(clear[:, :4], 0.05).any()


def test_equal_recipes_are_not_told_apart():
    assert friedman(np.ones((4, 8)))[0] == 0
    assert not worse_than_best(np.ones((4, 8)), 0.1).any()
    assert not worse_than_best(np.ones((2, 8)), 0.1).any()


def test_two_survivors_are_compared_by_signed_ranks():
    better = np.stack([np.arange(8.0) + 1, np.zeros(8)])

    assert worse_than_best(better, 0.05).tolist() == [False, True]
    assert worse_than_best(better[::-1], 0.05).tolist() == [True, False]
    assert not worse_than_best(better[:, :4], 0.05).any()


def test_where_nothing_is_better_the_error_is_the_stated_one():
    rng = np.random.default_rng(0)
    dropped = [worse_than_best(rng.standard_normal((6, 12)), 0.05).any() for _ in range(1500)]

    assert np.mean(dropped) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 1500))


def test_units_are_prompt_means_once_prompts_repeat():
    values = np.array([[1.0, 2.0, 5.0, 4.0]])

    assert unit_means(values, ["a", "b", "a", "b"]).tolist() == [[3, 3]]
    assert unit_means(values, ["a", "b", "c", "d"]).tolist() == values.tolist()


@pytest.mark.parametrize("ask", [None, 3])
@pytest.mark.parametrize("seed", range(10))
def test_the_best_of_a_noiseless_world_is_never_dropped_and_most_others_are(seed, ask):
    truth, scores = paired_world(seed)
    race = FRace(scores, 32, keep=1)

    for i in range(0, 16, ask or 16):
        race.run([Entrant(name) for name in names(16)[i : i + (ask or 16)]])

    assert race.reached[str(np.argmax(truth))] == 32
    assert race.reached == scores.fetched
    assert sum(race.reached.values()) < 0.5 * 16 * 32


def test_at_least_keep_recipes_see_all_blocks():
    _, scores = paired_world(3)
    race = FRace(scores, 32, keep=4)

    race.run([Entrant(name) for name in names(16)])

    assert sum(n == 32 for n in race.reached.values()) == 4


def test_fewer_than_five_prompts_are_never_tested():
    _, scores = paired_world(3)
    scores.names = [f"p{i % 4}" for i in range(32)]
    race = FRace(scores, 32)

    race.run([Entrant(name) for name in names(16)])

    assert set(race.reached.values()) == {32}


def test_failed_cells_are_never_bad_scores():
    # recipe 0 is better on every block but fails on some; recipe 1 fails on half of them
    _, scores = paired_world(3, recipes=6, noise=0.1)
    scores.values[0, 0] = scores.values[0].max(axis=0) + 1
    scores.values[0, 0, [1, 9, 17]] = math.nan
    scores.values[0, 1, ::2] = math.nan
    race = FRace(scores, 32)

    race.run([Entrant(name) for name in names(6)])

    assert race.reached["0"] == 32
    assert race.reached["1"] < 32


def test_when_all_fail_the_race_ends():
    scores = ScoreMatrix(np.full((1, 3, 8), math.nan))
    race = FRace(scores, 8)

    race.run([Entrant(name) for name in names(3)])

    assert set(race.reached.values()) == {5}
