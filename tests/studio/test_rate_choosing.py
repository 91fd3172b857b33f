"""Which pair comes next: uncertain ones first, everything spread evenly, and fewer votes needed."""

from collections import Counter
from random import Random

import numpy as np
import pytest

from teststrip.evidence import bradley_terry
from teststrip.evidence.people import Vote
from teststrip.studio.rate import choosing
from teststrip.studio.rate.choosing import Pair, Sight, next_pair, posterior, values
from teststrip.studio.rate.routes import AHEAD

BLOCKS = frozenset((f"p{n // 2}", n % 2) for n in range(24))


def names(count):
    return [f"r{n:02d}" for n in range(count)]


def everywhere(count):
    return dict.fromkeys(names(count), BLOCKS)


def voted(left, right, times, choice="left"):
    return [Vote("p0", n, left, right, choice, "me", f"{left}{right}{n}") for n in range(times)]


def rate(truth, budget, choose, seed, checks=()):
    """(votes, pairs as shown, posterior means at `checks`) of one simulated rater.

    As on the page, `AHEAD` pairs are chosen before the first of them is judged.
    """
    rng = Random(seed)
    shown_on = everywhere(len(truth))
    strength = dict(zip(names(len(truth)), truth, strict=True))
    votes, own, means, held = [], [], [], []
    for n in range(1, budget + 1):
        if choose:
            while len(held) < AHEAD:
                held.append(next_pair(shown_on, Sight(votes, own, own), held, rng))
            pair = held.pop(0)
        else:
            pair = Pair(rng.choice(sorted(BLOCKS)), *rng.sample(sorted(strength), 2))
        chance = 1 / (1 + np.exp(strength[pair.right] - strength[pair.left]))
        choice = "left" if rng.random() < chance else "right"
        votes.append(Vote(*pair.block, pair.left, pair.right, choice, "me", str(n)))
        own.append(pair)
        if n in checks:
            means.append(posterior(names(len(truth)), votes)[0])
    return votes, own, means


def test_the_posterior_is_bradley_terrys_where_the_prior_is_wide(monkeypatch):
    rng = np.random.default_rng(1)
    votes = rate(rng.normal(0, 0.6, 5), 300, choose=False, seed=1)[0]
    index = {name: n for n, name in enumerate(names(5))}
    monkeypatch.setattr(choosing, "PRIOR", 1e3)

    mean, spread = posterior(names(5), votes)

    counted = bradley_terry.tally(
        np.array([index[v.left] for v in votes]),
        np.array([index[v.right] for v in votes]),
        np.array([("left", "right").index(v.choice) for v in votes]),
        np.zeros(len(votes), dtype=np.intp),
        5,
    )
    fitted = bradley_terry.fit(counted, position=False).strength[0]
    assert mean - mean.mean() == pytest.approx(fitted, abs=1e-4)
    assert np.linalg.eigvalsh(spread).min() > 0


def test_the_undecided_pair_among_the_leaders_is_worth_most():
    """r00 and r01 beat all others and not each other; r02 and r03 have no vote between them."""
    votes = [
        *(v for a in ("r00", "r01") for b in ("r02", "r03") for v in voted(a, b, 12)),
        *voted("r00", "r01", 2),
        *voted("r01", "r00", 2),
    ]

    worth = values(names(4), votes, Random(1))

    assert np.unravel_index(worth.argmax(), worth.shape) == (0, 1)


def test_what_was_never_shown_is_looked_at():
    """Without votes every recipe comes up within a few pairs, on prompts evenly, sides even."""
    votes, own, _ = rate(np.zeros(8), 40, choose=True, seed=3)

    assert {name for pair in own[:16] for name in pair.both} == set(names(8))
    prompts = Counter(v.prompt_id for v in votes)
    assert len(prompts) == 12
    assert max(prompts.values()) - min(prompts.values()) <= 2
    lean = Counter(v.left for v in votes)
    lean.subtract(v.right for v in votes)
    assert max(map(abs, lean.values())) <= 3


def test_some_pairs_come_again_with_their_sides_swapped():
    _, own, _ = rate(np.linspace(0, 1, 6), 61, choose=True, seed=5)

    again = [pair for pair in own if pair.repeat]

    assert len(again) == 5
    for pair in again:
        first = next(p for p in own if p.both == pair.both and p.block == pair.block)
        assert (first.left, first.right) == (pair.right, pair.left)
    seen = Counter((p.both, p.block) for p in own)
    assert max(seen.values()) == 2


def test_no_pair_comes_twice_else_and_there_is_an_end():
    shown_on = {name: frozenset({("p0", 0), ("p1", 0)}) for name in names(3)}
    rng, own = Random(0), []
    while (pair := next_pair(shown_on, Sight((), own, ()), [], rng)) is not None:
        own.append(pair)

    assert len({(p.both, p.block) for p in own}) == len(own) == 6


def test_pairs_in_hand_are_not_given_again():
    rng, held = Random(0), []
    for _ in range(4):
        held.append(next_pair(everywhere(5), Sight(), held, rng))

    assert len({pair.both for pair in held}) == 4


def test_recipes_that_share_no_block_make_no_pair():
    shown_on = {"a": frozenset({("p0", 0)}), "b": frozenset({("p1", 0)})}

    assert next_pair(shown_on, Sight(), [], Random(0)) is None


def test_fewer_votes_are_needed_than_with_random_pairs():
    """Twelve recipes: what is lost by the recipe that leads after 60 votes, over 40 worlds."""
    lost = {}
    for choose in (True, False):
        gaps = []
        for world in range(40):
            truth = np.random.default_rng(world).normal(0, 0.7, 12)
            found = rate(truth, 60, choose=choose, seed=world, checks=(60,))[2][0]
            gaps.append(truth.max() - truth[found.argmax()])
        lost[choose] = np.mean(gaps)

    print(f"lost by the leader after 60 votes: {lost[True]:.3f} chosen, {lost[False]:.3f} random")
    assert lost[True] < 0.8 * lost[False]
