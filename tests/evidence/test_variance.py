"""Shares of variance: the balanced ANOVA is the oracle; what cannot be told is said."""

import numpy as np
import pytest
from scipy import stats

from teststrip.evidence import mixed
from teststrip.evidence.grid import build
from teststrip.evidence.table import checked
from teststrip.evidence.variance import decompose, half_width


@pytest.fixture
def decomposed(worlds, facts):
    def make(values, prompt_of, made=None):
        grid = build(checked(worlds.frame(values, prompt_of, made)), facts())
        fit = mixed.fit(grid)
        return decompose(grid, fit, 0.95), fit

    return make


def balanced(values, prompts, seeds):
    """(prompt, seed) variances of the balanced ANOVA; columns: seeds outermost."""
    y = values.reshape(len(values), seeds, prompts)
    recipes = len(y)
    m, p, sp, rp = y.mean(), y.mean(axis=(0, 1)), y.mean(axis=0), y.mean(axis=1)
    r = y.mean(axis=(1, 2))
    ms_p = recipes * seeds * ((p - m) ** 2).sum() / (prompts - 1)
    ms_s = recipes * ((sp - p) ** 2).sum() / (prompts * (seeds - 1))
    off = rp - r[:, None] - p[None, :] + m
    ms_rp = seeds * (off**2).sum() / ((recipes - 1) * (prompts - 1))
    rest = y - rp[:, None, :] - sp[None] + p[None, None, :]
    ms_e = (rest**2).sum() / ((recipes - 1) * prompts * (seeds - 1))
    return (ms_p - ms_s - ms_rp + ms_e) / (recipes * seeds), (ms_s - ms_e) / recipes


@pytest.mark.parametrize("seed", range(4))
def test_prompt_and_seed_are_those_of_the_balanced_anova(worlds, decomposed, seed):
    values, prompt_of, _ = worlds.scores(np.random.default_rng(seed), 12, 8, 4)

    found, _ = decomposed(values, prompt_of)

    expected = balanced(values, 8, 4)
    assert min(expected) > 0
    known = {share.source: share.variance for share in found.shares}
    assert (known["prompt"], known["seed"]) == pytest.approx(expected, rel=1e-6)


def test_shares_add_up_and_lie_in_their_intervals(study, worlds, decomposed):
    values, prompt_of, _ = worlds.scores(np.random.default_rng(0), 24, 8, 4)

    found, _ = decomposed(values, prompt_of, worlds.halving(values, prompt_of))

    sources = [share.source for share in found.shares]
    assert sources == ["recipe", "prompt", "seed", "recipe x prompt", "residual"]
    assert sum(share.share for share in found.shares) == pytest.approx(1)
    assert sum(share.variance for share in found.shares) == pytest.approx(found.total)
    assert all(0 <= s.low <= s.share <= s.high <= 1 for s in found.shares)
    assert (found.recipes, found.prompts, found.blocks, found.note) == (24, 8, 32, "")
    assert found.images == worlds.halving(values, prompt_of).sum()


def test_the_truth_is_in_the_intervals(worlds, decomposed):
    """Small worlds, all sources; benchmarks/evidence/calibration.py has the exact numbers."""
    rng, hits, count = np.random.default_rng(3), 0, 25
    truth = {"recipe": 0.25, "prompt": 1.0, "seed": 0.6, "recipe x prompt": 0.25, "residual": 0.5}
    for _ in range(count):
        values, prompt_of, _ = worlds.scores(rng, 10, 6, 3)
        found, _ = decomposed(values, prompt_of)
        hits += sum(s.low <= truth[s.source] / 2.6 <= s.high for s in found.shares)

    assert hits / (5 * count) >= 0.9


def test_recipes_that_scatter_unequally_widen_the_interval(worlds, decomposed):
    """Half the recipes scatter three times as much: the normal model alone is too sure."""
    rng = np.random.default_rng(0)
    even, prompt_of, _ = worlds.scores(rng, 12, 16, 2)
    uneven = even + np.where(np.arange(12) % 2, 2.0, 0.0)[:, None] * rng.normal(size=even.shape)

    def width(values):
        share = decomposed(values, prompt_of)[0].shares[-1]
        return (share.high - share.low) / share.share

    assert width(uneven) > 1.25 * width(even)


def test_the_future_follows_the_formula(worlds, decomposed):
    values, prompt_of, _ = worlds.scores(np.random.default_rng(1), 12, 8, 4)

    found, fit = decomposed(values, prompt_of)

    designs = [(f.prompts, f.seeds, f.images) for f in (found.now, *found.futures)]
    assert designs == [(8, 4, 32), (16, 4, 64), (8, 8, 64)]  # 8 more is twice as many
    by_hand = stats.t.ppf(0.975, 7) * (2 * (fit.interaction + fit.residual / 4) / 8) ** 0.5
    assert found.now.half == pytest.approx(by_hand)
    halves = [f.half for f in found.futures]
    assert halves[0] < halves[1] < found.now.half  # prompts help more than seeds


def test_the_half_width_is_that_of_the_paired_interval(worlds, facts):
    rng, seen, said = np.random.default_rng(2), [], []
    for _ in range(40):
        values, prompt_of, _ = worlds.scores(rng, 12, 8, 4)
        difference = (values[1] - values[0]).reshape(4, 8).mean(axis=0)
        seen.append(stats.t.ppf(0.975, 7) * difference.std(ddof=1) / 8**0.5)
        grid = build(checked(worlds.frame(values, prompt_of)), facts())
        said.append(half_width(mixed.fit(grid), 8, 4))

    assert np.mean(said) == pytest.approx(np.mean(seen), rel=0.1)


def test_one_seed_per_prompt_leaves_two_pairs_together(worlds, decomposed):
    values, prompt_of, _ = worlds.scores(np.random.default_rng(0), 8, 12, 1)

    found, _ = decomposed(values, prompt_of)

    assert [s.source for s in found.shares] == [
        "recipe", "prompt and seed", "recipe x prompt and residual",
    ]  # fmt: skip
    assert "cannot be told apart" in found.note
    assert [(f.prompts, f.seeds) for f in found.futures] == [(20, 1), (24, 1)]


def test_one_prompt_says_nothing_of_others(worlds, decomposed):
    values, prompt_of, _ = worlds.scores(np.random.default_rng(0), 8, 1, 12)

    found, _ = decomposed(values, prompt_of)

    assert [s.source for s in found.shares] == ["recipe", "seed", "residual"]
    assert found.note.startswith("One prompt:")
    assert (found.now, found.futures) == (None, ())


def test_nothing_to_decompose_is_none(decomposed):
    assert decomposed(np.full((4, 8), 0.5), np.arange(8))[0] is None
    assert decomposed(np.array([[0.1], [0.9]]), np.arange(1))[0] is None


@pytest.mark.parametrize("shape", [(2, 1, 2), (2, 2, 1), (3, 2, 2), (2, 3, 2)])
def test_the_smallest_studies_give_wide_intervals_and_no_warning(worlds, decomposed, shape):
    for seed in range(5):
        values, prompt_of, _ = worlds.scores(np.random.default_rng(seed), *shape)
        found, _ = decomposed(values, prompt_of)

        recipe = found.shares[0]
        assert recipe.high - recipe.low > 0.2
        assert sum(share.share for share in found.shares) == pytest.approx(1)
