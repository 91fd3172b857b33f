"""Do the scorers agree: laws of the correlations, and of the comparison with people's votes."""

import time

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from teststrip.evidence.agreement import agreement
from teststrip.evidence.grid import build
from teststrip.evidence.people import Vote
from teststrip.evidence.table import checked


@pytest.fixture
def world(worlds):
    """(table, values, prompt of each block): 12 recipes, 8 prompts x 4 seeds, other scorers."""

    def make(seed=0, recipes=12, prompts=8, seeds=4, **others):
        rng = np.random.default_rng(seed)
        values, prompt_of, _ = worlds.scores(rng, recipes, prompts, seeds)
        frame = worlds.frame(values, prompt_of)
        for name, make_it in others.items():
            frame[f"{name}@1"] = make_it(frame["clip@1"].to_numpy(), rng)
        return checked(frame), values, prompt_of

    return make


def noisy(values, rng):
    return values + rng.normal(0, 1, len(values))


def taken(table, facts, votes=(), **changes):
    own = facts(**changes)
    return agreement(table, own, build(table, own), votes)


def voted(values, prompt_of, count, seed=1, noise=0.5):
    """Votes by the true score plus noise."""
    rng = np.random.default_rng(seed)
    votes = []
    for _ in range(count):
        i, j = rng.choice(len(values), 2, replace=False)
        b = rng.integers(values.shape[1])
        choice = "left" if values[i, b] - values[j, b] + rng.normal(0, noise) > 0 else "right"
        seed_of = int(b // (prompt_of.max() + 1))
        votes.append(Vote(f"p{prompt_of[b]:02d}", seed_of, f"r{i:03d}", f"r{j:03d}", choice))
    return votes


def test_both_correlations_are_scipys(world, facts):
    table, values, _ = world(other=noisy)
    other = table.pivot(index="recipe_id", columns="block", values="other@1").to_numpy()

    pair = taken(table, facts).pairs[0]

    by_recipe = spearmanr(values.mean(axis=1), other.mean(axis=1)).statistic
    by_image = spearmanr(
        (values - values.mean(axis=0)).ravel(), (other - other.mean(axis=0)).ravel()
    ).statistic
    assert pair.recipes.mean == pytest.approx(by_recipe, abs=1e-6)
    assert pair.images.mean == pytest.approx(by_image, abs=1e-6)
    assert pair.recipes.low < pair.recipes.mean < pair.recipes.high
    assert pair.images.units == 8


def test_scores_with_ties_are_ranked_as_scipy_ranks_them(world, facts):
    table, values, _ = world(other=lambda v, rng: np.round(v))

    pair = taken(table, facts).pairs[0]

    other = np.round(values)
    assert pair.recipes.mean == pytest.approx(
        spearmanr(values.mean(axis=1), other.mean(axis=1)).statistic, abs=1e-6
    )


def test_the_objective_comes_first_and_book_keeping_is_no_score(world, facts):
    table, _, _ = world(other=noisy, last=noisy)

    found = taken(table, facts, objective="last@1")

    assert [s.column for s in found.scorers] == ["last@1", "clip@1", "other@1"]
    assert len(found.pairs) == 3
    assert (found.recipes, found.blocks, found.images, found.prompts) == (12, 32, 384, 8)


def test_a_score_of_which_less_is_better_is_turned(world, facts):
    table, _, _ = world(loss=lambda v, rng: -v)

    assert taken(table, facts).pairs[0].images.mean == pytest.approx(-1)
    turned = taken(table, facts, lower_is_better=("loss@1",))
    assert turned.pairs[0].images.mean == pytest.approx(1)
    assert turned.pairs[0].same_winner


def test_easy_prompts_are_not_agreement(worlds, facts):
    """Two scorers that share nothing but how hard a prompt is do not agree on images."""
    rng = np.random.default_rng(3)
    values, prompt_of, _ = worlds.scores(rng, 12, 8, 4)
    frame = worlds.frame(values, prompt_of)
    hard = rng.normal(0, 5, 8)[prompt_of]
    frame["clip@1"] = (values - values.mean(axis=0) + hard).ravel()
    frame["other@1"] = (rng.normal(0, 1, values.shape) + hard).ravel()

    pair = taken(checked(frame), facts).pairs[0]

    assert spearmanr(frame["clip@1"], frame["other@1"]).statistic > 0.8
    assert pair.images.low < 0 < pair.images.high


def test_the_interval_of_images_holds_the_truth(worlds, facts):
    """Normal residuals with correlation r: Spearman's is 6 / pi asin(r / 2) (Pearson 1907)."""
    hits, count = 0, 150
    rng = np.random.default_rng(11)
    truth = 6 / np.pi * np.arcsin(0.6 / 2)
    for _ in range(count):
        x = rng.normal(size=(20, 24))
        frame = worlds.frame(x, np.tile(np.arange(12), 2))
        frame["other@1"] = (0.6 * x + 0.8 * rng.normal(size=x.shape)).ravel()
        pair = taken(checked(frame), facts).pairs[0]
        hits += pair.images.low <= truth <= pair.images.high

    assert hits / count == pytest.approx(0.95, abs=3.5 * (0.95 * 0.05 / count) ** 0.5)


@pytest.mark.slow
def test_the_interval_of_recipes_holds_what_as_many_prompts_give(worlds, facts):
    """Its target is the correlation expected of means over that many prompts, not of endless ones
    (which is further from 0: 0.70 here, where 16 prompts give 0.52)."""
    rng = np.random.default_rng(20)
    first = rng.normal(0, 0.5, 20)
    second = 0.7 * first + 0.7 * rng.normal(0, 0.5, 20)
    found = []
    for k in range(120):
        rng = np.random.default_rng([20, 16, k])
        values, prompt_of, _ = worlds.scores(rng, 20, 16, 2, first)
        frame = worlds.frame(values, prompt_of)
        frame["other@1"] = worlds.scores(rng, 20, 16, 2, second)[0].ravel()
        found.append(taken(checked(frame), facts).pairs[0].recipes)

    target = np.mean([p.mean for p in found])

    held = np.mean([p.low <= target <= p.high for p in found])
    assert held == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 120) ** 0.5)


@pytest.mark.parametrize("name", ["constant", "empty"])
def test_a_scorer_that_never_differs_is_flagged_and_not_correlated(world, facts, name):
    same = {"constant": 0.3, "empty": np.nan}[name]
    table, values, prompt_of = world(flat=lambda v, rng: np.full(len(v), same), other=noisy)

    found = taken(table, facts, voted(values, prompt_of, 20))

    flat = next(s for s in found.scorers if s.column == "flat@1")
    assert flat.constant
    assert flat.leader is flat.with_votes is None
    assert [(p.first, p.second) for p in found.pairs] == [("clip@1", "other@1")]
    assert "flat@1 never differs" in found.note


def test_a_few_images_without_a_score_cost_no_block(world, facts):
    """Each block's mean is taken off, so a hole moves no recipe by how hard its block is."""

    def with_holes(values, rng):
        return np.where(rng.random(len(values)) < 0.05, np.nan, values)

    table, _, _ = world(holes=with_holes)

    found = taken(table, facts)

    assert found.blocks == 32
    assert found.recipes == 12
    assert found.images == table["holes@1"].notna().sum()
    assert found.pairs[0].recipes.mean == pytest.approx(1)


def test_a_scorer_that_judged_too_few_images_is_left_out(world, facts):
    table, _, _ = world(other=lambda v, rng: np.where(np.arange(len(v)) % 2, v, np.nan))

    found = taken(table, facts)

    assert not found.pairs
    assert "other@1: on fewer than 75 %" in found.note


@pytest.mark.parametrize("recipes", [1, 2])
def test_fewer_than_three_recipes_have_no_rank_correlation(world, facts, recipes):
    table, _, _ = world(recipes=recipes, other=noisy)

    found = taken(table, facts, baseline=None)

    assert all(not np.isfinite(p.recipes.mean) and not p.recipes.known for p in found.pairs)
    assert found.note


def test_one_prompt_gives_no_interval(world, facts):
    table, _, _ = world(prompts=1, other=noisy)

    found = taken(table, facts)

    assert np.isfinite(found.pairs[0].recipes.mean)
    assert not found.pairs[0].recipes.known
    assert "One prompt" in found.note


def test_the_scorer_by_which_people_chose_agrees_with_them(world, facts):
    table, values, prompt_of = world(other=noisy, random=lambda v, rng: rng.normal(0, 1, len(v)))

    found = taken(table, facts, voted(values, prompt_of, 300))

    by_column = {s.column: s for s in found.scorers}
    assert by_column["clip@1"].with_votes.low > 0.75
    assert by_column["clip@1"].votes == 300
    assert by_column["random@1"].with_votes.low < 0.5 < by_column["random@1"].with_votes.high
    assert found.by_eye.startswith("clip@1 agrees with people on")
    assert "clip@1 is better" in found.by_eye
    assert "300 decided pairs" in found.by_eye


def test_scorers_that_are_alike_are_not_told_apart(world, facts):
    table, values, prompt_of = world(twin=lambda v, rng: v + rng.normal(0, 0.05, len(v)))

    found = taken(table, facts, voted(values, prompt_of, 100))

    assert "not distinguishable" in found.by_eye


def test_a_share_of_votes_is_counted_by_hand(world, facts):
    """Three votes: one agrees, one does not, one on two equal scores counts half; ties are out."""
    table, _, _ = world(other=lambda v, rng: np.zeros(len(v)) + np.arange(len(v)) // 32 // 2)
    votes = [
        Vote("p00", 0, "r002", "r000", "left"),
        Vote("p01", 0, "r000", "r004", "left"),
        Vote("p02", 1, "r000", "r001", "right"),
        Vote("p02", 1, "r000", "r008", "tie"),
        Vote("p99", 1, "r000", "r008", "left"),
    ]

    other = taken(table, facts, votes).scorers[1]

    assert other.with_votes.mean == pytest.approx(0.5)
    assert (other.votes, other.with_votes.units) == (3, 3)


def test_unanimous_votes_are_not_certainty(world, facts):
    """Ten of ten on ten prompts: Clopper and Pearson's lower bound is .025^(1/10) = .69."""
    table, values, _ = world(prompts=10)
    votes = [
        Vote(
            f"p{p:02d}", 0, f"r{values[:, p].argmax():03d}", f"r{values[:, p].argmin():03d}", "left"
        )
        for p in range(10)
    ]

    share = taken(table, facts, votes).scorers[0].with_votes

    assert share.mean == share.high == 1
    assert share.low == pytest.approx(0.025 ** (1 / 10), abs=1e-6)


def test_a_scorer_that_guesses_is_told_from_guessing_in_five_percent(world, facts):
    """Votes by lot, clustered by prompt: the interval excludes one half in at most 5 %."""
    table, values, prompt_of = world(prompts=12, seeds=2)
    rng = np.random.default_rng(5)
    alarms, count = 0, 150
    for _ in range(count):
        votes = []
        for v in voted(values, prompt_of, 72, seed=int(rng.integers(1 << 30)), noise=0.0):
            votes.append(
                Vote(v.prompt_id, v.seed, v.left, v.right, ("left", "right")[rng.integers(2)])
            )
        share = taken(table, facts, votes).scorers[0].with_votes
        alarms += not share.low <= 0.5 <= share.high

    assert alarms / count <= 0.05 + 2.5 * (0.05 * 0.95 / count) ** 0.5


@pytest.mark.parametrize("shape", [(3125, 8, 4), (400, 125, 2)])
def test_a_hundred_thousand_images_take_seconds(worlds, facts, shape):
    rng = np.random.default_rng(0)
    values, prompt_of, _ = worlds.scores(rng, *shape)
    i, b = np.indices(values.shape)
    frame = pd.DataFrame(
        {
            "recipe_id": np.char.add("r", i.ravel().astype(str)),
            "prompt_id": np.char.add("p", prompt_of[b.ravel()].astype(str)),
            "seed": b.ravel() // shape[1],
            "block": b.ravel(),
        }
        | {f"score{k}@1": values.ravel() + rng.normal(0, 1, values.size) for k in range(6)}
    )
    own = facts(objective="score0@1", baseline=None)
    table = checked(frame)
    grid = build(table, own)

    start = time.perf_counter()
    found = agreement(table, own, grid)

    assert len(found.pairs) == 15
    assert time.perf_counter() - start < 6  # about 0.6 s on an idle core
