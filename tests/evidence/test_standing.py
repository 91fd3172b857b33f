"""P(best), the shrunk winner, worst tenth and pass rate on simulated studies."""

import numpy as np
import pytest
from scipy import stats

from teststrip.evidence import mixed
from teststrip.evidence.grid import build
from teststrip.evidence.ranking import rank
from teststrip.evidence.standing import (
    p_best,
    p_best_elsewhere,
    pass_rate,
    standings,
    worst_tenth,
)
from teststrip.evidence.table import checked


@pytest.fixture
def known(facts):
    """(standings, ranking, fit) of a table."""

    def make(table, most=50, **changes):
        told = facts(**changes)
        grid, ranking = build(table, told), rank(table, told)
        fit = mixed.fit(grid)
        return standings(grid, ranking, told, fit, most), ranking, fit

    return make


def test_finalists_and_the_baseline_are_listed_in_order(study, known):
    table, _ = study(seed=2, recipes=24)

    found, ranking, fit = known(table)

    assert list(found) == [r.recipe_id for r in ranking.rows if not r.stopped]
    assert "r000" in found
    everywhere = sum(s.p_best for s in found.values()) + p_best_elsewhere(ranking, fit)
    assert everywhere == pytest.approx(1)
    assert set(p_best(fit)) == {r.recipe_id for r in ranking.rows}


def test_no_more_than_asked_for_and_the_baseline_among_them(study, known):
    table, _ = study(seed=2, recipes=12, race=False)

    found, ranking, _ = known(table, most=4)

    others = [r.recipe_id for r in ranking.rows if r.recipe_id != "r000"][:3]
    assert set(found) == {*others, "r000"}


def test_the_winner_is_shrunk_towards_the_others(study, known):
    bias = []
    for seed in range(40):
        table, truth = study(seed=seed, recipes=12, race=False, prompts=6, seeds=2)
        found, ranking, _ = known(table)
        if ranking.best == "r000":
            continue
        true = truth[int(ranking.best[1:])] - truth[0]
        shrunk = found[ranking.best].gain
        assert shrunk.low < shrunk.mean < shrunk.high
        bias.append([shrunk.mean - true, ranking.row(ranking.best).gain.mean - true])
    shrunk, naive = np.mean(bias, axis=0)

    assert naive > 0.15
    assert abs(shrunk) < naive / 2


def test_all_numbers_are_from_the_same_blocks(worlds, known):
    """r001 lacks the easy block: nobody's worst tenth may use it."""
    values, prompt_of, _ = worlds.scores(np.random.default_rng(0), 4, 8, 2)
    values[:, 3] += 100
    values[1, 3] = np.nan
    table = checked(worlds.frame(values, prompt_of))

    found, _, _ = known(table, threshold=50.0)

    assert {s.images for s in found.values()} == {15}
    assert all(s.passes.mean == 0 for s in found.values())


def test_lower_is_better_turns_every_number(study, known):
    table, _ = study(seed=1, race=False)
    turned = table.assign(**{"clip@1": -table["clip@1"]})

    up, _, _ = known(table, threshold=0.5)
    down, _, _ = known(turned, threshold=-0.5, higher_is_better=False)

    for name, one in up.items():
        other = down[name]
        assert other.p_best == pytest.approx(one.p_best)
        assert other.lower == pytest.approx(-one.lower)
        assert other.worst_tenth.mean == pytest.approx(-one.worst_tenth.mean)
        assert other.worst_tenth.low == pytest.approx(-one.worst_tenth.high)
        assert other.passes.mean == pytest.approx(one.passes.mean)
        assert other.loses_on == one.loses_on
        if one.gain:
            assert other.gain.mean == pytest.approx(one.gain.mean)


def test_prompts_on_which_it_loses_are_counted(worlds, known):
    values = np.array([[0.5] * 6, [0.6, 0.6, 0.6, 0.6, 0.4, 0.45]])
    values += 1e-3 * np.random.default_rng(0).normal(size=values.shape)

    found, _, _ = known(checked(worlds.frame(values, np.arange(6))))

    assert (found["r001"].loses_on, found["r001"].prompts) == (2, 6)
    assert found["r000"].loses_on is None
    assert found["r000"].gain is None


def test_the_worst_tenth_is_the_quantile_of_the_images():
    values = np.random.default_rng(0).normal(size=48)

    found = worst_tenth(values, np.arange(48) % 12, 1)

    assert found.mean == pytest.approx(np.quantile(values, 0.1))
    assert found.low < found.mean < found.high
    assert found.units == 12
    assert worst_tenth(values, np.arange(48) % 12, -1).mean == pytest.approx(
        np.quantile(values, 0.9)
    )
    assert worst_tenth(values, np.zeros(48, int), 1).units == 48


def test_the_worst_tenths_bootstrap_draws_whole_prompts():
    """The same quantile, drawn prompt by prompt with numpy."""
    from teststrip.evidence.interval import resampling

    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(6), 4)
    values = rng.normal(size=24) + rng.normal(0, 2, 6)[prompt]

    found = worst_tenth(values, prompt, 1)

    drawn = []
    for weights in resampling(6)[:1000]:
        times = np.rint(weights * 6).astype(int)[prompt]
        drawn.append(np.quantile(np.repeat(values, times), 0.1))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])))


def test_a_pass_rate_of_images_that_are_independent_is_clopper_pearson():
    passed = np.array([True] * 18 + [False] * 12)

    found = pass_rate(passed, np.zeros(30, int))

    exact = stats.binomtest(18, 30).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-6)


def test_prompts_that_pass_or_fail_as_a_whole_count_as_prompts():
    passed = np.repeat([True, True, True, False, False, True, False, True], 8)
    prompt = np.repeat(np.arange(8), 8)

    alike = pass_rate(passed, prompt)
    mixed_up = pass_rate(np.random.default_rng(0).permutation(passed), prompt)

    assert alike.high - alike.low > 0.5
    assert mixed_up.high - mixed_up.low < 0.35


@pytest.mark.parametrize("all_pass", [True, False])
def test_all_or_nothing_has_an_interval_by_the_number_of_prompts(all_pass):
    found = pass_rate(np.full(32, all_pass), np.arange(32) % 8)

    exact = stats.binomtest(8 if all_pass else 0, 8).proportion_ci(0.95, "exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_the_pass_rates_interval_holds_the_truth():
    rng, hits, count = np.random.default_rng(0), 0, 400
    prompt = np.repeat(np.arange(12), 4)
    for _ in range(count):
        chance = rng.beta(3, 1.5, 12)  # mean 2/3
        found = pass_rate(rng.random(48) < chance[prompt], prompt)
        hits += found.low <= 2 / 3 <= found.high

    assert hits / count >= 0.93


def test_what_cannot_be_told_is_none(worlds, known):
    two_images = checked(worlds.frame(np.array([[0.1], [0.9]]), np.arange(1)))
    alone = checked(worlds.frame(np.ones((1, 8)) * np.arange(8), np.arange(8)))
    equal = checked(worlds.frame(np.full((4, 8), 0.5), np.arange(8)))

    for table in (two_images, alone, equal):
        found, ranking, fit = known(table, threshold=0.5)
        assert fit is None
        assert p_best_elsewhere(ranking, fit) is None
        assert all((s.p_best, s.gain) == (None, None) for s in found.values())
        assert all(0 <= s.passes.mean <= 1 for s in found.values())


def test_without_a_baseline_the_leader_is_the_reference(study, known):
    table, _ = study(seed=3, race=False)

    found, ranking, _ = known(table, baseline=None)

    assert found[ranking.best].gain is None
    assert all(s.gain.mean < 0 for name, s in found.items() if name != ranking.best)


def test_a_pair_that_scatters_more_than_others_has_a_wider_interval(worlds, known):
    rng = np.random.default_rng(0)
    values, prompt_of, _ = worlds.scores(rng, 10, 16, 2, effect=np.linspace(-3, 3, 10))
    values[5] += rng.normal(0, 3, 32)

    found, _, _ = known(checked(worlds.frame(values, prompt_of)))

    def width(name):
        return found[name].gain.high - found[name].gain.low

    assert width("r005") > 1.15 * max(width(f"r{i:03d}") for i in range(1, 10) if i != 5)


def test_failures_here_and_there_do_not_leave_the_best_without_numbers(worlds, known):
    """20 recipes that each lack 10 % of 40 blocks share next to none of them."""
    rng = np.random.default_rng(0)
    values, prompt_of, _ = worlds.scores(rng, 20, 20, 2)
    values[rng.random(values.shape) < 0.1] = np.nan

    found, ranking, _ = known(checked(worlds.frame(values, prompt_of)), threshold=0.0)

    assert found[ranking.best].images >= 20
    assert found["r000"].images == found[ranking.best].images
    left_out = [s for s in found.values() if not s.images]
    assert left_out
    assert all((s.lower, s.passes, s.loses_on) == (None, None, None) for s in left_out)
    assert sum(s.p_best for s in found.values()) == pytest.approx(1)
