"""Races: paired, clustered by prompt, deaf to failed cells, and never blind to a clear winner."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from teststrip.study.race import (
    Entrant,
    Everything,
    Halving,
    clustered_mean,
    front_numbers,
    ranked,
    rungs,
)
from teststrip.testing.worlds import ScoreMatrix, paired_world


def seen(values):
    """All of it was asked for already."""
    scores = ScoreMatrix(values)
    scores.fetch({str(i): scores.values.shape[2] for i in range(scores.values.shape[1])})
    return scores


def names(count):
    return [str(i) for i in range(count)]


@pytest.mark.parametrize("ask", [None, 3])
@pytest.mark.parametrize("seed", range(20))
def test_halving_never_drops_the_best_of_a_noiseless_world(seed, ask):
    truth, scores = paired_world(seed)
    race = Halving(scores, rungs(4, 32, 2))

    for i in range(0, 16, ask or 16):
        race.run([Entrant(name) for name in names(16)[i : i + (ask or 16)]])

    assert race.reached[str(np.argmax(truth))] == 32


def test_halving_over_48_recipes_costs_480_images_and_spreads_them_as_it_says():
    _, scores = paired_world(1, recipes=48)
    race = Halving(scores, rungs(4, 32, 2))

    race.run([Entrant(name) for name in names(48)])

    reached = sorted(race.reached.values())
    assert sum(reached) == 480
    assert [reached.count(n) for n in (4, 8, 16, 32)] == [24, 12, 6, 6]
    assert race.reached == scores.fetched


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_every_recipe_is_run_on_the_first_blocks_of_some_rung(seed):
    _, scores = paired_world(seed, recipes=10, noise=2.0)
    race = Halving(scores, rungs(2, 32, 3), eta=3, keep=2)

    race.run([Entrant(name) for name in names(10)])

    assert set(race.reached.values()) <= set(rungs(2, 32, 3))
    assert sum(n == 32 for n in race.reached.values()) >= 2


def test_where_nothing_is_better_each_recipe_wins_about_as_often():
    wins = np.zeros(6, dtype=int)
    for seed in range(600):
        rng = np.random.default_rng(seed)
        scores = ScoreMatrix((rng.standard_normal(32) + rng.standard_normal((6, 32)))[None])
        race = Halving(scores, rungs(4, 32, 2))
        race.run([Entrant(name) for name in names(6)])
        last = [i for i in names(6) if race.reached[i] == 32]
        wins[int(ranked(last, 32, scores)[0])] += 1

    assert stats.chisquare(wins).pvalue > 0.001


@pytest.mark.parametrize(
    ("start", "top", "eta", "expected"),
    [
        (4, 32, 2, [4, 8, 16, 32]),
        (4, 28, 2, [4, 8, 16, 28]),
        (8, 8, 2, [8]),
        (16, 8, 2, [8]),
        (1, 5, 1.5, [1, 2, 3, 4, 5]),
        (2, 32, 3, [2, 6, 18, 32]),
    ],
)
def test_rungs_grow_by_eta_and_end_at_the_top(start, top, eta, expected):
    assert rungs(start, top, eta) == expected


@given(start=st.integers(1, 50), top=st.integers(1, 500), eta=st.floats(1.05, 10))
def test_rungs_rise_strictly(start, top, eta):
    steps = rungs(start, top, eta)

    assert steps == sorted(set(steps))
    assert steps[-1] == top


def test_the_clustered_mean_is_the_mean_of_prompt_means():
    values = np.array([1.0, 3.0, 10.0])

    assert clustered_mean(values, ["a", "a", "b"]) == pytest.approx((2 + 10) / 2)
    assert clustered_mean(values[None], ["a", "b", "c"]) == pytest.approx([14 / 3])


def test_failed_cells_are_left_out_for_all_and_not_averaged_away():
    # recipe 0 is better on every block, but failed on the easy one
    easy = np.array([0, 0, 0, 100.0])
    values = np.stack([easy + 1, easy])[None]
    values[0, 0, 3] = math.nan

    assert ranked(["0", "1"], 4, seen(values)) == ["0", "1"]


def test_a_recipe_that_fails_too_often_is_out():
    values = np.zeros((1, 3, 8))
    values[0, 1, :3] = math.nan
    values[0, 2] = 1

    assert ranked(names(3), 8, seen(values)) == ["2", "0"]


def test_scattered_failures_leave_enough_common_blocks():
    values = np.tile(np.arange(6.0)[None, :, None], (1, 1, 8))
    for i in range(6):
        values[0, i, i] = math.nan

    order = ranked(names(6), 8, seen(values))

    assert order[0] == "5"
    assert len(order) >= 4, "only as many are left out as must be"


def test_when_all_fail_the_race_ends():
    scores = ScoreMatrix(np.full((1, 3, 8), math.nan))
    race = Halving(scores, rungs(2, 8, 2))

    race.run([Entrant(name) for name in names(3)])

    assert set(race.reached.values()) == {2}


def test_fronts_are_those_of_the_definition():
    means = np.array([[1, 2, 3, 0, 2], [3, 2, 1, 0, 1.0]])

    assert front_numbers(means).tolist() == [0, 0, 0, 2, 1]


def test_two_objectives_keep_the_trade_off():
    quality, speed = np.arange(6.0), -np.arange(6.0)
    speed[0] = -10  # slow and bad: dominated
    values = np.tile(np.stack([quality, speed])[:, :, None], (1, 1, 4))

    order = ranked(names(6), 4, seen(values))

    assert order == ["5", "4", "3", "2", "1", "0"]


def test_no_race_runs_everything():
    _, scores = paired_world(0)
    race = Everything(scores, 32)

    race.run([Entrant(name) for name in names(16)], {"15": 32})

    assert set(race.reached.values()) == {32}
