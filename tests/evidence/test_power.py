"""Power: what a design can tell, against statsmodels and against simulated worlds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from teststrip.evidence.power import (
    ASSUMED,
    ASSUMED_TOTAL,
    Spread,
    detectable,
    prompts_needed,
    sd_of_difference,
)

WORLD = Spread(interplay=0.25, residual=0.5, source="the simulated world")


@pytest.mark.parametrize("prompts", [2, 3, 8, 32, 500])
@pytest.mark.parametrize("comparisons", [1, 3, 48])
@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
def test_the_smallest_difference_is_that_of_statsmodels(prompts, comparisons, power):
    from statsmodels.stats.power import TTestPower

    found = detectable(WORLD, prompts, 4, comparisons, power)

    size = found / sd_of_difference(WORLD, 4)
    test = TTestPower()
    alpha = 0.05 / comparisons
    theirs = test.power(size, prompts, alpha)
    if np.isnan(theirs):  # scipy's lower tail, where that is below 1e-10
        theirs = test.power(size, prompts, alpha / 2, alternative="larger")
    assert theirs == pytest.approx(power, abs=1e-6)


def test_a_world_with_that_difference_is_told_apart_as_often_as_promised():
    rng = np.random.default_rng(7)
    prompts, seeds, worlds = 12, 2, 4000
    gap = detectable(WORLD, prompts, seeds)

    taste = rng.normal(0, WORLD.interplay, (worlds, 2, prompts, 1))
    noise = rng.normal(0, WORLD.residual, (worlds, 2, prompts, seeds))
    means = (taste + noise).mean(axis=-1)
    p = stats.ttest_1samp(gap + means[:, 0] - means[:, 1], 0, axis=-1).pvalue

    assert (p < 0.05).mean() == pytest.approx(0.8, abs=0.02)


def test_the_fewest_prompts_are_enough_and_one_less_is_not():
    needed = prompts_needed(0.2, WORLD, 4, comparisons=3)

    assert detectable(WORLD, needed, 4, 3) <= 0.2 < detectable(WORLD, needed - 1, 4, 3)


def test_what_no_number_of_prompts_can_tell_is_none():
    assert prompts_needed(1e-9, WORLD, 4) is None
    assert prompts_needed(0.0, WORLD, 4) is None
    assert detectable(WORLD, 1, 64) is None


def test_more_prompts_buy_more_than_more_seeds():
    more_prompts, more_seeds = detectable(WORLD, 16, 4), detectable(WORLD, 8, 8)

    assert more_prompts < more_seeds < detectable(WORLD, 8, 4)


@given(
    prompts=st.integers(2, 200),
    seeds=st.floats(1, 16),
    comparisons=st.integers(1, 3000),
    interplay=st.floats(0, 2),
    residual=st.floats(0, 2),
)
@settings(deadline=None, max_examples=60)
def test_it_is_a_number_that_falls_with_prompts_and_rises_with_comparisons(
    prompts, seeds, comparisons, interplay, residual
):
    spread = Spread(interplay, residual, "any")

    found = detectable(spread, prompts, seeds, comparisons)

    assert 0 <= found < np.inf
    assert detectable(spread, prompts + 1, seeds, comparisons) <= found
    assert detectable(spread, prompts, seeds, comparisons + 1) >= found


def test_the_assumed_spreads_are_shares_of_one_standard_deviation():
    assert pytest.approx(1.317, abs=1e-3) == ASSUMED_TOTAL
    assert "0.19" in ASSUMED.source
    assert "0.38" in ASSUMED.source
    assert (ASSUMED.interplay, ASSUMED.residual) == pytest.approx((0.19, 0.38), abs=0.002)
