"""People's votes: Bradley-Terry with ties and position, against choix and against known truth."""

import time

import choix
import numpy as np
import pytest

from teststrip.errors import ConfigError
from teststrip.evidence import bradley_terry
from teststrip.evidence.people import Vote, people

LEFT, RIGHT, TIE = bradley_terry.LEFT, bradley_terry.RIGHT, bradley_terry.TIE


def simulated(rng, truth, prompts, per_prompt, left=0.0, tie=-np.inf, taste=0.0):
    """Votes of Davidson's model; `taste`: deviation of a prompt's own strengths."""
    k, n = len(truth), prompts * per_prompt
    a = rng.integers(0, k, n)
    b = (a + rng.integers(1, k, n)) % k
    prompt = np.repeat(np.arange(prompts), per_prompt)
    own = truth + taste * rng.normal(size=(prompts, k))
    d = own[prompt, a] - own[prompt, b] + left
    weight = np.stack([np.exp(d / 2), np.exp(-d / 2), np.full(n, np.exp(tie))], axis=1)
    upto = np.cumsum(weight / weight.sum(axis=1, keepdims=True), axis=1)
    return a, b, (rng.random(n)[:, None] > upto).sum(axis=1), prompt


def as_votes(a, b, choice, prompt, rater="me"):
    words = ("left", "right", "tie")
    return [
        Vote(f"p{p}", n, f"r{i}", f"r{j}", words[c], rater)
        for n, (i, j, c, p) in enumerate(zip(a, b, choice, prompt, strict=True))
    ]


def tallied(votes, recipes):
    a, b, choice, prompt = votes
    return bradley_terry.tally(a, b, choice, prompt, recipes)


@pytest.mark.parametrize(("recipes", "seed"), [(3, 0), (8, 1), (20, 2)])
def test_without_ties_and_position_it_is_choix(recipes, seed):
    rng = np.random.default_rng(seed)
    votes = simulated(rng, rng.normal(0, 0.8, recipes), 10, 40)
    pairs = [(a, b) if c == LEFT else (b, a) for a, b, c, _ in zip(*votes, strict=True)]

    found = bradley_terry.fit(tallied(votes, recipes), position=False)

    for oracle in (
        choix.opt_pairwise(recipes, pairs, alpha=0, tol=1e-12),
        choix.ilsr_pairwise(recipes, pairs, alpha=0, tol=1e-12),
    ):
        assert found.strength[0] == pytest.approx(oracle - oracle.mean(), abs=1e-6)
    assert not found.held[0]


def test_ties_and_position_are_at_the_maximum_of_davidsons_likelihood():
    """Against scipy's own optimiser on the likelihood written down anew."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(4)
    a, b, choice, prompt = simulated(rng, rng.normal(0, 0.8, 5), 8, 40, left=0.4, tie=-0.5)

    def loss(x):
        strength, left, tie = x[:5], x[5], x[6]
        preferred = np.exp(strength)
        first = preferred[a] * np.exp(left / 2)
        second = preferred[b] * np.exp(-left / 2)
        even = np.exp(tie) * np.sqrt(first * second)
        chosen = np.choose(choice, [first, second, even])
        return -np.log(chosen / (first + second + even)).sum() + strength.sum() ** 2

    best = minimize(loss, np.zeros(7), method="BFGS", options={"gtol": 1e-9})
    found = bradley_terry.fit(tallied((a, b, choice, prompt), 5))

    assert found.strength[0] == pytest.approx(best.x[:5], abs=1e-5)
    assert [found.left[0], found.tie[0]] == pytest.approx(best.x[5:], abs=1e-5)


def test_resampled_fits_are_fits_to_the_resampled_votes():
    rng = np.random.default_rng(6)
    a, b, choice, prompt = simulated(rng, rng.normal(0, 0.5, 4), 6, 40, tie=-1.0)
    counted = tallied((a, b, choice, prompt), 4)
    weights = np.array([[2.0, 0, 1, 1, 0, 2]])

    many = bradley_terry._fits(counted, weights, np.zeros((1, 6)), position=True)

    rows = np.repeat(np.arange(len(a)), weights[0][prompt].astype(int))
    alone = bradley_terry.fit(tallied((a[rows], b[rows], choice[rows], prompt[rows]), 4))
    assert many.strength[0] == pytest.approx(alone.strength[0], abs=1e-8)
    assert [many.left[0], many.tie[0]] == pytest.approx([alone.left[0], alone.tie[0]], abs=1e-8)


def test_fifty_recipes_are_refitted_in_seconds():
    rng = np.random.default_rng(1)
    counted = tallied(simulated(rng, rng.normal(0, 0.8, 50), 40, 50, left=0.2, tie=-0.5), 50)
    found = bradley_terry.fit(counted)

    start = time.perf_counter()
    drawn = bradley_terry.refits(counted, found, 400)

    assert drawn.strength.shape == (400, 50)
    assert time.perf_counter() - start < 3  # about 0.5 s on an idle core


def test_many_recipes_take_one_step_that_spreads_as_refits_do(monkeypatch):
    rng = np.random.default_rng(2)
    counted = tallied(simulated(rng, rng.normal(0, 0.5, 10), 40, 40, tie=-0.5), 10)
    found = bradley_terry.fit(counted)
    full = bradley_terry.refits(counted, found)

    monkeypatch.setattr(bradley_terry, "MOST_REFITTED", 5)
    step = bradley_terry.refits(counted, found)

    ratio = step.strength.std(axis=0) / full.strength.std(axis=0)
    assert ratio == pytest.approx(np.ones(10), abs=0.1)
    assert step.left.std() == pytest.approx(full.left.std(), rel=0.1)


def coverage(count, truth, prompts, per_prompt, seed, left=0.3, tie=-0.5):
    """(share of strengths inside their interval, share of left biases inside theirs)."""
    rng = np.random.default_rng(seed)
    inside, bias = [], []
    for _ in range(count):
        found = people(as_votes(*simulated(rng, truth, prompts, per_prompt, left, tie)))
        for s in found.strengths:
            if s.strength.known:
                inside.append(s.strength.low <= truth[int(s.recipe_id[1:])] <= s.strength.high)
        bias.append(found.left_bias.low <= left <= found.left_bias.high)
    return np.mean(inside), np.mean(bias)


def test_intervals_hold_the_truth():
    truth = np.array([-1.0, -0.3, 0.0, 0.3, 1.0])

    strengths, bias = coverage(120, truth, 16, 10, seed=8)

    assert strengths == pytest.approx(0.955, abs=0.03)
    assert bias == pytest.approx(0.955, abs=0.055)


@pytest.mark.parametrize(("recipes", "prompts", "per_prompt"), [(5, 12, 10), (16, 12, 5)])
def test_without_preference_no_recipe_stands_out_beyond_five_percent(recipes, prompts, per_prompt):
    inside, _ = coverage(80, np.zeros(recipes), prompts, per_prompt, seed=recipes)

    assert 1 - inside <= 0.05 + 2.5 * (0.05 * 0.95 / (80 * recipes)) ** 0.5


def test_a_side_that_is_favoured_is_seen_and_taken_off():
    rng = np.random.default_rng(9)
    truth = np.array([0.6, 0.0, -0.6])

    found = people(as_votes(*simulated(rng, truth, 40, 30, left=0.8)))

    assert found.is_biased
    assert found.left_bias.mean == pytest.approx(0.8, abs=0.25)
    assert [s.recipe_id for s in found.strengths] == ["r0", "r1", "r2"]
    assert found.ties == 0


def test_the_order_of_votes_and_the_sides_change_nothing_but_the_bias():
    rng = np.random.default_rng(10)
    votes = as_votes(*simulated(rng, np.array([0.5, 0.0, -0.5]), 10, 20, left=0.5, tie=-1))
    other = {"left": "right", "right": "left", "tie": "tie"}
    swapped = [Vote(v.prompt_id, v.seed, v.right, v.left, other[v.choice], v.rater) for v in votes]

    straight, turned = people(votes), people(swapped[::-1])

    assert turned.left_bias.mean == pytest.approx(-straight.left_bias.mean, abs=1e-6)
    for a, b in zip(straight.strengths, turned.strengths, strict=True):
        assert (a.recipe_id, a.votes) == (b.recipe_id, b.votes)
        assert a.strength.mean == pytest.approx(b.strength.mean, abs=1e-6)
        assert a.beats_average == pytest.approx(b.beats_average, abs=1e-6)


def test_no_votes_give_no_ranking():
    assert people([]) is None


def test_one_prompt_gives_a_ranking_without_intervals():
    votes = [Vote("p", 0, "a", "b", "left")] * 3 + [Vote("p", 0, "a", "b", "right")]

    found = people(votes)

    assert not found.left_bias.known
    assert not any(s.strength.known for s in found.strengths)
    assert "one prompt" in found.note
    assert found.votes == 4


def test_a_recipe_that_won_every_pair_is_held_by_the_ridge_and_it_is_said():
    votes = [Vote(f"p{i}", 0, *pair, "left") for i in range(6) for pair in (("a", "b"), ("a", "c"))]
    votes += [Vote(f"p{i}", 0, "b", "c", ("left", "right")[i % 2]) for i in range(6)]

    found = people(votes)

    assert found.strengths[0].recipe_id == "a"
    assert np.isfinite(found.strengths[0].strength.mean)
    assert "ridge" in found.note


@pytest.mark.parametrize("choice", ["left", "right", "tie"])
def test_votes_that_all_say_the_same_are_no_crash_and_no_claim(choice):
    votes = [Vote(f"p{i}", 0, "ab"[i % 2], "ba"[i % 2], choice) for i in range(8)]

    found = people(votes)

    assert all(s.strength.mean == pytest.approx(0, abs=1e-9) for s in found.strengths)
    assert all(s.beats_average == pytest.approx(0.5) for s in found.strengths)
    assert found.ties == (choice == "tie")


def test_two_votes_for_a_newcomer_claim_nothing():
    """Two of two happen by lot in a quarter of all cases."""
    rng = np.random.default_rng(12)
    votes = as_votes(*simulated(rng, np.zeros(3), 12, 10))
    votes += [Vote(f"p{i}", 500, "new", f"r{i}", "left", "me") for i in range(2)]

    new = next(s for s in people(votes).strengths if s.recipe_id == "new")

    assert new.strength.low < 0 < new.strength.high
    assert (new.votes, new.strength.units) == (2, 2)


def test_only_the_largest_linked_group_is_ranked():
    votes = [Vote(f"p{i}", 0, "a", "b", ("left", "right")[i % 2]) for i in range(4)]
    votes += [Vote(f"p{i}", 0, "b", "c", ("left", "tie")[i % 2]) for i in range(4)]
    votes += [Vote("p1", 0, "x", "y", "left")]

    found = people(votes)

    assert {s.recipe_id for s in found.strengths} == {"a", "b", "c"}
    assert found.unconnected == ("x", "y")
    assert found.votes == 8
    assert "1 vote" in found.note


def test_repeated_pairs_are_compared_also_when_the_sides_are_swapped():
    votes = [
        Vote("p0", 0, "a", "b", "left", "me"),
        Vote("p0", 0, "b", "a", "right", "me"),  # alike
        Vote("p1", 0, "a", "b", "left", "me"),
        Vote("p1", 0, "b", "a", "left", "me"),  # not alike: the side won
        Vote("p1", 0, "a", "b", "right", "you"),  # another rater
        Vote("p1", 1, "a", "b", "right", "me"),  # another seed
    ]

    found = people(votes)

    assert (found.repeats, found.consistent) == (2, 0.5)
    assert found.raters == 2


@pytest.mark.parametrize("fields", [{"choice": "both"}, {"right": "a"}])
def test_a_vote_that_cannot_be_is_refused(fields):
    with pytest.raises(ConfigError):
        Vote(**({"prompt_id": "p", "seed": 0, "left": "a", "right": "b", "choice": "tie"} | fields))


def test_the_same_votes_give_the_same_numbers():
    rng = np.random.default_rng(13)
    votes = as_votes(*simulated(rng, np.array([0.5, 0.0, -0.5]), 10, 20, tie=-1))

    assert people(votes) == people(votes)
