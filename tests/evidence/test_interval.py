"""Intervals and tests, held against simulated truth, scipy and statsmodels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from teststrip.evidence.interval import Interval, holm, interval, intervals, p_value, p_values


def coverage(draw, units, worlds):
    """Share of worlds whose interval holds the true mean 0, and its Monte Carlo error."""
    hits = 0
    for _ in range(worlds):
        found = interval(draw(units))
        hits += found.low <= 0 <= found.high
    return hits / worlds, (0.05 * 0.95 / worlds) ** 0.5


def percentile_coverage(draw, units, worlds):
    hits = 0
    for _ in range(worlds):
        found = stats.bootstrap(
            (draw(units),), np.mean, n_resamples=500, method="percentile", rng=0
        ).confidence_interval
        hits += found.low <= 0 <= found.high
    return hits / worlds


@pytest.mark.parametrize("units", [3, 4, 6, 8, 12, 16, 32])
def test_the_interval_holds_the_truth_as_often_as_it_says(units):
    rng = np.random.default_rng(units)

    share, error = coverage(lambda n: rng.normal(0, 1, n), units, 1200)

    assert 0.95 - 3.5 * error <= share <= 0.95 + 3.5 * error


@pytest.mark.parametrize("units", [8, 16])
def test_skewed_differences_cost_little_coverage(units):
    rng = np.random.default_rng(units)

    share, _ = coverage(lambda n: rng.exponential(1, n) - 1, units, 1000)

    assert share >= 0.91  # Student's t: 0.89 for 8, percentile: 0.84


def test_a_percentile_interval_would_be_too_narrow():
    rng = np.random.default_rng(1)

    assert percentile_coverage(lambda n: rng.normal(0, 1, n), 8, 400) < 0.92


def test_it_agrees_with_the_paired_t_interval_on_balanced_normal_data():
    rng = np.random.default_rng(5)
    first, second = rng.normal(0.3, 1, (2, 60))

    ours = interval(first - second)
    theirs = stats.ttest_rel(first, second).confidence_interval(0.95)

    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx((first - second).mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.05 * width)
    assert ours.high == pytest.approx(theirs.high, abs=0.05 * width)


def test_below_eight_units_it_is_student_t():
    units = np.array([0.1, 0.4, -0.2, 0.3, 0.25])

    found = interval(units, 0.9)

    expected = stats.ttest_1samp(units, 0).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_p_is_that_of_the_paired_t_test():
    first, second = np.random.default_rng(2).normal(0, 1, (2, 9))

    assert p_value(first - second) == pytest.approx(stats.ttest_rel(first, second).pvalue)


def test_images_of_one_prompt_are_not_independent():
    """8 prompts x 8 seeds, no difference: image by image a 5 % test cries wolf twice as often."""
    rng, worlds, alarms = np.random.default_rng(3), 1500, np.zeros(2)
    for _ in range(worlds):
        prompts = rng.normal(0, 0.5, 8)
        images = prompts[:, None] + rng.normal(0, 1, (8, 8))
        alarms += [p_value(images.ravel()) < 0.05, p_value(images.mean(axis=1)) < 0.05]
    per_image, per_prompt = alarms / worlds

    assert per_image > 0.15
    assert per_prompt == pytest.approx(0.05, abs=3.5 * (0.05 * 0.95 / worlds) ** 0.5)


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_holm_is_that_of_statsmodels(p_values):
    ours = holm(np.array(p_values))

    assert ours == pytest.approx(multipletests(p_values, method="holm")[1])


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_scores_without_spread_have_a_point_for_an_interval(count):
    found = interval(np.full(count, 0.25))

    assert found.mean == 0.25
    assert found.low == (None if count == 1 else 0.25)


def test_a_difference_without_spread_counts_by_the_sign_test():
    assert p_value(np.full(2, 0.5)) == 0.5
    assert p_value(np.full(9, 0.5)) == 2.0**-8
    assert p_value(np.zeros(9)) == 1.0


def test_mostly_tied_units_do_not_break_the_bootstrap():
    found = interval(np.array([0.0] * 9 + [1.0]))

    assert found.low < 0.1 < found.high
    assert np.isfinite([found.low, found.high]).all()


def test_nothing_has_no_interval():
    assert interval(np.array([])).units == 0
    assert interval(np.array([0.5])) == Interval(0.5, None, None, 1)


def test_the_same_data_give_the_same_interval():
    units = np.random.default_rng(0).normal(size=12)

    assert interval(units) == interval(units.copy())


@settings(max_examples=30)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20))
def test_turning_the_scale_turns_the_interval(values):
    found = interval(np.array(values))

    assert found.flipped(1) == found
    assert found.flipped(-1).mean == -found.mean
    assert found.flipped(-1).low <= found.flipped(-1).high


def test_many_rows_at_once_are_each_row_alone():
    """Rows with different numbers of units, some without spread, one with nothing."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(12, 20))
    for i, count in enumerate((0, 1, 2, 5, 8, 20, 9, 20, 3, 12, 20, 16)):
        rows[i, rng.permutation(20)[count:]] = np.nan
    rows[7] = np.round(rows[7])
    rows[9][np.isfinite(rows[9])] = 0.25

    together = intervals(rows)
    p = p_values(rows)

    for i, row in enumerate(rows):
        alone = row[np.isfinite(row)]
        assert p[i] == pytest.approx(p_value(alone))
        expected = interval(alone)
        assert together[i].units == expected.units
        if len(alone) > 1:
            assert (together[i].low, together[i].high) == pytest.approx(
                (expected.low, expected.high)
            )


def test_a_resample_of_one_unit_only_has_no_spread_whatever_the_rounding():
    """A third of all resamples leave the one unit out that differs: then Student's t counts."""
    units = np.array([0.1] * 7 + [0.4])

    found = interval(units)

    assert found.high - found.low < 1
