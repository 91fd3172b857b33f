"""What the held-out images may confirm, and what they may not."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from teststrip.evidence.confirmed import confirmed
from teststrip.evidence.ranking import rank
from teststrip.evidence.table import checked
from teststrip.evidence.verdict import headline, lines, settled_by


@pytest.fixture
def held(worlds, facts):
    """(table, ranking, facts): a search, and its first recipes again on fresh blocks."""

    def make(gains=(0.0, 2.0, 0.0), prompts=6, seeds=4, rng=0, noise=1.0, **changes):
        known = facts(**changes)
        spread = {name: noise**2 * v for name, v in worlds.VARIANCES.items()}
        parts = []
        for split, count, at in (("search", 8, 0), ("held_out", prompts, 100)):
            values, prompt_of, _ = worlds.scores(
                np.random.default_rng([rng, at]), len(gains), count, seeds, gains, spread
            )
            part = worlds.frame(known.sign * values, prompt_of)
            part["split"], part["seed"] = split, part["seed"] + at
            part["prompt_id"] = [f"{split[0]}{p}" for p in part["prompt_id"]]
            parts.append(part)
        table = checked(pd.concat(parts, ignore_index=True))
        return table, rank(table, known), known

    return make


def found_in(world, expected=None):
    table, ranking, facts = world
    return confirmed(table, facts, ranking, expected or {})


def test_without_held_out_rows_there_is_no_confirmation(held):
    table, ranking, facts = held()

    assert confirmed(table[table.split == "search"], facts, ranking, {}) is None


@pytest.mark.parametrize("higher", [True, False])
def test_a_leader_that_is_better_on_fresh_images_is_supported(held, higher):
    world = held(higher_is_better=higher)
    table, ranking, _ = world

    found = found_in(world)

    assert found.supported == ("r001",)
    assert found.champion == "r001"
    assert (found.images, found.prompts, found.seeds) == (3 * 6 * 4, 6, 4)
    assert [row.a for row in found.rows] == [
        r.recipe_id for r in ranking.rows if r.recipe_id != "r000"
    ]
    fresh = table[table.split == "held_out"].pivot(
        index=["prompt_id", "seed"], columns="recipe_id", values="clip@1"
    )
    unit = (fresh["r001"] - fresh["r000"]).groupby("prompt_id").mean()
    row = found.row("r001")
    assert row.gain.mean == pytest.approx(unit.mean() if higher else -unit.mean())
    assert row.p_t == pytest.approx(stats.ttest_1samp(unit, 0).pvalue)
    assert found.means["r000"].mean == pytest.approx(fresh["r000"].mean())
    assert headline(found, ranking).startswith("Confirmed: ")
    assert "on 6 prompts x 4 seeds it never saw" in headline(found, ranking)


def test_the_images_of_the_search_change_nothing(held):
    table, ranking, facts = held(gains=(0.0, 0.0, 0.0))
    lucky = table.copy()
    lucky.loc[(table.split == "search") & (table.recipe_id == "r001"), "clip@1"] += 50

    before, after = (confirmed(t, facts, ranking, {}) for t in (table, lucky))

    assert before == after
    assert not before.supported


def test_every_leader_is_in_the_family_and_each_can_only_make_it_harder(held):
    few = found_in(held(gains=(0.0, 0.8, 0.0)))
    world = held(gains=(0.0, 0.8, 0.0))
    table, ranking, facts = world
    alone = table[(table.split == "search") | (table.recipe_id != "r002")]
    one = confirmed(alone, facts, ranking, {})

    assert (one.row("r001").family, few.row("r001").family) == (1, 2)
    assert few.row("r001").p_holm >= one.row("r001").p_holm == one.row("r001").p_t


def test_one_held_out_prompt_supports_nothing_and_says_why(held):
    world = held(prompts=1, seeds=8, gains=(0.0, 9.0, 0.0))

    found = found_in(world)

    assert not found.supported
    assert {row.verdict for row in found.rows} == {"too few images"}
    assert found.row("r001").gain.low > 0
    assert "one held-out prompt" in headline(found, world[1])


def test_one_held_out_image_each_has_no_interval_and_no_claim(held):
    world = held(prompts=1, seeds=1, gains=(0.0, 9.0, 0.0))

    found = found_in(world)

    assert not found.supported
    assert found.row("r001").gain.low is None
    assert "nan" not in " ".join([headline(found, world[1]), *lines(found, *world[1:])]).lower()


def test_a_baseline_that_failed_leaves_nothing_to_compare(held):
    table, ranking, facts = held()
    broken = table.copy()
    ours = (table.split == "held_out") & (table.recipe_id == "r000")
    broken.loc[broken[ours].index[:7], "status"] = "failed"

    found = confirmed(broken, facts, ranking, {})

    assert (found.rows, found.supported) == ((), ())
    assert "the baseline failed on 7 of 24 held-out images" in headline(found, ranking)


def test_a_leader_that_failed_too_often_is_not_supported_whatever_the_rest_says(held):
    table, ranking, facts = held(gains=(0.0, 9.0, 0.0))
    broken = table.copy()
    ours = (table.split == "held_out") & (table.recipe_id == "r001")
    broken.loc[broken[ours].index[:7], "clip@1"] = np.nan

    found = confirmed(broken, facts, ranking, {})

    assert found.row("r001").verdict == "failed too often"
    assert not found.supported


def test_held_out_images_without_any_score_are_said_and_not_judged(held):
    table, ranking, facts = held()
    broken = table.copy()
    broken.loc[table.split == "held_out", "clip@1"] = np.nan

    found = confirmed(broken, facts, ranking, {})

    assert found.rows == ()
    assert headline(found, ranking) == (
        "Not confirmed: none of the 72 held-out images has a score."
    )


def test_without_a_baseline_there_are_means_and_no_comparison(held):
    world = held(baseline=None)

    found = found_in(world)

    assert set(found.means) == {"r000", "r001", "r002"}
    assert found.rows == ()
    assert "no baseline" in headline(found, world[1])


def test_equal_scores_support_nothing(held):
    table, ranking, facts = held()
    flat = table.copy()
    flat.loc[table.split == "held_out", "clip@1"] = 0.5

    found = confirmed(flat, facts, ranking, {})

    assert not found.supported
    assert {row.p_holm for row in found.rows} == {1.0}
    assert "not distinguishable" in headline(found, ranking)


def test_the_pass_rate_counts_the_good_side_of_the_threshold(held):
    found = found_in(held(threshold=0.0, higher_is_better=False))
    table = held(threshold=0.0, higher_is_better=False)[0]
    fresh = table[(table.split == "held_out") & (table.recipe_id == "r001")]

    assert found.passes["r001"].mean == pytest.approx((fresh["clip@1"] <= 0).mean())
    assert found.passes["r001"].low <= found.passes["r001"].mean <= found.passes["r001"].high


def test_what_the_search_promised_stands_beside_what_came(held):
    world = held()

    found = found_in(world, {"r001": 1.25})

    assert found.expected["r001"] == 1.25
    assert found.expected["r002"] == world[1].row("r002").gain.mean


def test_the_prompts_that_would_settle_it_find_such_a_gain_in_four_of_five_cases(held):
    found = found_in(held(gains=(0.0, 0.35, 0.0), rng=3))
    row = found.row("r001")
    text = settled_by(row)
    needed = int(text.split("seen, ")[1].split()[0].replace(",", ""))
    sd = row.gain.mean / row.effect_size

    rng = np.random.default_rng(1)
    drawn = rng.normal(row.gain.mean, sd, (20_000, needed))
    p = stats.ttest_1samp(drawn, 0, axis=1).pvalue

    assert np.mean(p < 0.05 / row.family) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("prompts", [4, 8])
def test_when_nothing_is_better_hardly_anything_is_confirmed(held, prompts):
    worlds = [held(gains=(0.0,) * 4, prompts=prompts, seeds=2, rng=k) for k in range(150)]

    false = sum(bool(found_in(world).supported) for world in worlds)

    assert false <= 11  # 5 % of 150 two-sided halves to 3.75; 11 is 1 in 1,000
