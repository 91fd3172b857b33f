"""One recipe against another: scipy is the oracle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from teststrip.errors import ConfigError
from teststrip.evidence.compare import against, compare, permutation_p, wilcoxon_p
from teststrip.evidence.grid import build
from teststrip.evidence.ranking import ALONE, BETTER, UNCLEAR, WORSE
from teststrip.evidence.table import checked


@pytest.fixture
def grid(study, facts):
    table, _ = study(seed=1, recipes=6, prompts=12, seeds=2, race=False)
    return build(table, facts())


def prompt_means(grid, name):
    return grid.prompt_means(grid.values)[grid.recipes.index(name)]


def test_the_three_tests_are_those_of_scipy(grid):
    first, second = prompt_means(grid, "r001"), prompt_means(grid, "r000")

    found = compare(grid, "r001", "r000")

    assert found.p_t == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=1e-6)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(first, second).pvalue, abs=1e-6)
    exact = stats.permutation_test(
        (first - second,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert found.p_permutation == pytest.approx(exact.pvalue, abs=1e-6)
    assert found.gain.mean == pytest.approx((first - second).mean(), abs=1e-12)


def test_many_prompts_draw_their_permutations():
    units = np.random.default_rng(0).normal(0.3, 1, 40)

    assert permutation_p(units) == pytest.approx(stats.ttest_1samp(units, 0).pvalue, abs=0.01)
    assert permutation_p(units) == permutation_p(units.copy())
    assert permutation_p(np.full(40, 0.5)) == pytest.approx(1 / 20_001)  # never 0


@settings(max_examples=40)
@given(st.lists(st.integers(-9, 9), min_size=2, max_size=12))
def test_ties_are_counted_exactly(values):
    """All sign patterns of the ranks, which is what scipy's exact permutation does."""
    units = np.array(values, float)
    moved = units[units != 0]

    found = wilcoxon_p(units)

    if len(moved) < 2:
        assert found == 1.0
    else:
        ranks = stats.rankdata(np.abs(moved)) * np.sign(moved)
        theirs = stats.permutation_test(
            (ranks,), np.sum, permutation_type="samples", n_resamples=np.inf
        )
        assert found == pytest.approx(theirs.pvalue, abs=1e-6)


def test_tied_scores_on_many_prompts_use_the_normal_approximation():
    units = np.round(np.random.default_rng(0).normal(0.3, 1, 60), 1)
    units = units[units != 0]

    expected = stats.wilcoxon(units, method="asymptotic").pvalue
    assert wilcoxon_p(units) == pytest.approx(expected, abs=1e-6)


def test_holm_runs_over_the_family(grid):
    rows = against(grid, ["r003", "r000", "r001", "r002"], "r000")

    assert [row.a for row in rows] == ["r003", "r001", "r002"]
    assert {row.family for row in rows} == {3}
    expected = multipletests([row.p_t for row in rows], method="holm")[1]
    assert [row.p_holm for row in rows] == pytest.approx(expected, abs=1e-6)
    alone = compare(grid, "r001", "r000", 0.95, [rows[0].p_t, rows[2].p_t])
    assert alone == rows[1]
    assert compare(grid, "r001", "r000").p_holm == rows[1].p_t


def test_turned_around_it_says_the_opposite(grid):
    there, back = compare(grid, "r001", "r002"), compare(grid, "r002", "r001")

    assert back.gain.mean == pytest.approx(-there.gain.mean)
    assert (back.p_t, back.p_wilcoxon) == pytest.approx((there.p_t, there.p_wilcoxon))
    assert back.effect_size == pytest.approx(-there.effect_size)
    assert back.wins == pytest.approx(1 - there.wins)


def test_the_verdict_is_in_words(worlds, facts):
    values, prompt_of, _ = worlds.scores(
        np.random.default_rng(0), 3, 16, 2, effect=[0.0, 2.0, -2.0]
    )
    values = np.vstack([values, values[0] + np.random.default_rng(1).normal(0, 1e-3, 32)])
    grid = build(checked(worlds.frame(values, prompt_of)), facts())

    assert [row.verdict for row in against(grid, ["r001", "r002", "r003"], "r000")] == [
        BETTER, WORSE, UNCLEAR,
    ]  # fmt: skip


def test_only_blocks_that_both_have_are_used(worlds, facts):
    values = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.4, np.nan, np.nan]])
    grid = build(checked(worlds.frame(values, np.arange(4))), facts())

    found = compare(grid, "r001", "r000")

    assert (found.images, found.prompts) == (2, 2)
    assert found.gain.mean == pytest.approx(0.15)
    assert (found.wins, found.loses_on) == (1.0, 0)


def test_equal_scores_are_not_distinguishable(worlds, facts):
    grid = build(checked(worlds.frame(np.full((2, 8), 0.5), np.arange(8))), facts())

    found = compare(grid, "r001", "r000")

    assert (found.p_t, found.p_wilcoxon, found.p_permutation, found.p_holm) == (1, 1, 1, 1)
    assert (found.verdict, found.effect_size, found.wins) == (UNCLEAR, None, 0.5)


def test_one_image_each_is_too_few(worlds, facts):
    grid = build(checked(worlds.frame(np.array([[0.1], [0.9]]), np.arange(1))), facts())

    found = compare(grid, "r001", "r000")

    assert (found.verdict, found.p_t, found.gain.low) == (ALONE, 1.0, None)
    assert against(grid, [], "r000") == ()


def test_an_unknown_recipe_is_named(grid):
    with pytest.raises(ConfigError, match="'r999' has no images here"):
        compare(grid, "r999", "r000")
