"""Shares of thumbs: bounds that keep their word where a prompt's ratings are alike."""

import numpy as np
import pytest

from teststrip.track.share import difference, share_of


def thumbs(*counts):
    """(up, down) of each prompt."""
    return [
        (k < up, f"p{at}", "ada") for at, (up, down) in enumerate(counts) for k in range(up + down)
    ]


def test_independent_ratings_have_wilsons_interval():
    pytest.importorskip("scipy")
    from scipy.stats import binomtest

    found = share_of([(k < 30, f"p{k}", "ada") for k in range(40)])
    exact = binomtest(30, 40).proportion_ci(method="wilson")

    assert (found.up, found.down, found.prompts, found.people) == (30, 10, 40, 1)
    # 40 prompts of one rating: the design effect is 40 / 39
    assert found.low == pytest.approx(exact.low, abs=0.003)
    assert found.high == pytest.approx(exact.high, abs=0.003)


def test_many_ratings_of_one_prompt_count_little():
    alike = share_of(thumbs((20, 0), (0, 20), (20, 0)))
    mixed = share_of(thumbs((14, 6), (13, 7), (13, 7)))

    assert alike.share == mixed.share
    assert alike.high - alike.low > 2 * (mixed.high - mixed.low)
    one = share_of(thumbs((50, 10)))
    assert one.high - one.low > 0.7  # one prompt tells of one prompt


def test_all_up_is_not_certain():
    found = share_of(thumbs((5, 0), (5, 0), (5, 0), (5, 0)))
    assert found.share == 1
    assert found.low == pytest.approx(0.51, abs=0.01)  # Wilson for 4 of 4


def test_nothing_rated_says_nothing():
    nothing = share_of([])
    assert (nothing.share, nothing.low, nothing.high) == (None, 0, 1)
    assert str(nothing) == "no ratings"
    assert difference(nothing, share_of(thumbs((1, 0)))) is None


def test_differences_are_told_only_where_they_are_seen():
    good, bad = share_of(thumbs(*[(1, 0)] * 36, *[(0, 1)] * 4)), share_of(thumbs(*[(1, 1)] * 20))
    assert difference(good, bad).verdict == "better"
    assert difference(bad, good).verdict == "worse"
    assert difference(bad, bad).verdict == "not distinguishable"
    # Newcombe 1998, table II, 56/70 - 48/80: 0.0524 to 0.3339
    a = share_of([(k < 56, f"p{k}", "x") for k in range(70)])
    b = share_of([(k < 48, f"p{k}", "x") for k in range(80)])
    found = difference(a, b)
    assert found.low == pytest.approx(0.0524, abs=0.003)
    assert found.high == pytest.approx(0.3339, abs=0.003)


def test_intervals_cover_the_truth_where_prompts_differ():
    """The table at the head of the module: nominal 95 %, here at least 90 % in its worst rows."""
    rng = np.random.default_rng(1)
    for truth, alike, prompts in ((0.6, 0.8, 6), (0.9, 0.8, 40)):
        held, worlds = 0, 400
        for _ in range(worlds):
            of_prompt = rng.beta(truth * (1 / alike - 1), (1 - truth) * (1 / alike - 1), prompts)
            counts = rng.integers(1, 6, prompts)
            ups = rng.binomial(counts, of_prompt)
            found = share_of(thumbs(*zip(ups, counts - ups, strict=True)))
            held += found.low <= truth <= found.high
        assert held / worlds > 0.87, (truth, alike, prompts)
