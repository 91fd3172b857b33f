"""What one image would have picked, and what each parameter does."""

import numpy as np
import pytest

from teststrip.evidence.effects import effects
from teststrip.evidence.grid import build
from teststrip.evidence.luck import luck
from teststrip.evidence.numbers import Numbers, duration, percent, show, times
from teststrip.evidence.pareto import front
from teststrip.evidence.ranking import rank
from teststrip.evidence.table import checked


def test_luck_by_hand(worlds, facts):
    """3 recipes, 2 blocks; r001 wins the first, r002 the second, r001 is best over both."""
    values = np.array([[0.0, 0.0], [3.0, 1.0], [0.0, 2.0]])
    table = checked(worlds.frame(values, np.arange(2)))

    found = luck(build(table, facts()), rank(table, facts()))

    assert (found.blocks, found.recipes, found.winners) == (2, 3, 2)
    assert found.picks_best == 0.5
    assert found.by_chance == pytest.approx(1 / 3)
    # leads over the block's mean: r001 +2 and 0, r002 -1 and +1; each winner loses 2 elsewhere
    assert found.overstated == pytest.approx(2.0)
    assert found.loses_to_baseline == pytest.approx(0.5 * 0 + 0.5 * 0)


def test_one_image_overstates_where_nothing_differs(worlds, facts):
    """The winner's curse in simulation: pure luck leads by the expected largest of n normals."""
    rng, found = np.random.default_rng(0), []
    for _ in range(60):
        table = checked(worlds.frame(rng.normal(0, 1, (10, 8)), np.arange(8)))
        found.append(luck(build(table, facts()), rank(table, facts())))

    assert np.mean([f.overstated for f in found]) == pytest.approx(1.54, abs=0.15)
    assert np.mean([f.loses_to_baseline for f in found]) == pytest.approx(0.45, abs=0.1)


def test_ties_are_drawn_by_lot(worlds, facts):
    table = checked(worlds.frame(np.full((4, 3), 0.5), np.arange(3)))

    found = luck(build(table, facts()), rank(table, facts()))

    assert found.picks_best == pytest.approx(0.25)
    assert found.overstated == 0.0


def test_one_recipe_leaves_nothing_to_luck(worlds, facts):
    table = checked(worlds.frame(np.ones((1, 4)), np.arange(4)))

    assert luck(build(table, facts()), rank(table, facts())) is None
    assert effects(table, facts()) == ()


def test_effects_use_only_the_blocks_that_all_recipes_share(study, facts):
    table, _ = study(recipes=16)
    moved = table.copy()
    moved.loc[moved["block"] >= 4, "clip@1"] += 50 * (moved["recipe_id"] > "r008")

    assert effects(moved, facts()) == effects(table, facts())
    assert effects(table, facts())[0].blocks == 4


def test_an_effect_is_free_of_prompt_and_seed(worlds, facts):
    """guidance 0..3 adds its own amount; blocks differ wildly and must not matter."""
    amount = np.array([0.0, 1.0, 4.0, 1.0])
    values = amount[np.arange(8) % 4][:, None] + np.random.default_rng(0).normal(0, 30, 8)
    table = checked(worlds.frame(values, np.arange(8)))

    found = next(e for e in effects(table, facts()) if e.field == "guidance")

    assert [level.gain.mean for level in found.levels] == pytest.approx(amount - amount.mean())
    assert all(level.gain.high - level.gain.low < 1e-9 for level in found.levels)
    assert found.numeric


def test_a_value_that_only_the_baseline_has_is_no_level(worlds, facts):
    rng = np.random.default_rng(0)
    grid = [{"recipe.guidance": g} for g in (7.5, 2.0, 2.0, 4.0, 4.0)]
    table = checked(worlds.frame(rng.normal(size=(5, 8)), np.arange(8), grid=grid))

    (with_baseline,) = effects(table, facts())
    (without,) = effects(table, facts(baseline=None))

    assert [level.value for level in with_baseline.levels] == [2, 4]
    assert [level.value for level in without.levels] == [2, 4, 7.5]


def test_many_values_are_grouped_and_words_are_not(worlds, facts):
    rng = np.random.default_rng(0)
    grid = [
        {"recipe.guidance": float(g), "recipe.scheduler": "ab"[i % 2]}
        for i, g in enumerate(rng.uniform(1, 12, 30))
    ]
    table = checked(worlds.frame(rng.normal(size=(30, 4)), np.arange(4), grid=grid))

    found = {e.field: e for e in effects(table, facts())}

    assert found["guidance"].binned
    assert len(found["guidance"].levels) == 6
    assert sum(level.recipes for level in found["guidance"].levels) == 30
    assert not found["scheduler"].numeric
    assert [level.label for level in found["scheduler"].levels] == ["a", "b"]


def test_the_front_holds_what_nothing_beats_in_both(study, facts):
    table, _ = study(race=False, recipes=8)

    ranking = rank(table, facts())
    names = front(ranking.rows)

    for row in ranking.rows:
        beaten = any(
            other.gain.mean > row.gain.mean and other.seconds < row.seconds
            for other in ranking.rows
        )
        assert (row.recipe_id in names) == (not beaten)


def test_numbers_are_written_for_readers():
    write = Numbers(3)

    assert write.plain(-0.0001) == "0.000"
    assert write.signed(0.0004) == "0.000"
    assert write.signed(0.0124) == "+0.012"
    assert write.signed(-0.0124) == "−0.012"
    assert write.plain(float("nan")) == "–"
    assert percent(0.004) == "< 1 %"
    assert percent(0.999) == "> 99 %"
    assert percent(1.0) == "100 %"
    assert (duration(4.21), duration(75), duration(3900)) == ("4.2 s", "1 min 15 s", "1 h 05 min")
    assert (times(0.75, 4), times(0.3, 4)) == ("3 of 4 times", "30 % of the time")
    assert (show(None), show("[]"), show(0.30000001), show(True)) == ("none", "none", "0.3", "yes")
