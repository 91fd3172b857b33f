"""Which pair is shown next: the one whose answer tells most about which recipe is best.

Recipes' strengths have a normal posterior under Bradley-Terry (Laplace's approximation, ties as
half a win each, a normal prior of deviation `PRIOR`). A pair is worth the chance that these two
are the top two, times what one vote would tell about their order. `tests/studio/test_rate_choosing`
compares it with random pairs.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np

from teststrip.evidence.interval import Floats
from teststrip.evidence.people import Vote

PRIOR = 1.0  # log odds
DRAWS = 400
CURIOUS = 0.1  # weight of pairs that are not among the leaders, so that none is forgotten
REPEAT_EVERY, REPEAT_AFTER = 12, 6  # votes
Block = tuple[str, int]


@dataclass(frozen=True)
class Pair:
    """Two recipes on one block, as they are shown. `repeat`: this rater saw it before."""

    block: Block
    left: str
    right: str
    repeat: bool = False

    @property
    def both(self) -> frozenset[str]:
        """The recipes, whatever the sides."""
        return frozenset((self.left, self.right))


@dataclass
class Sight:
    """What was shown and judged so far. `votes`: everyone's that hold; `own`: pairs this rater has
    seen, skipped ones too, in order; `decided`: those of them that were judged."""

    votes: Sequence[Vote] = ()
    own: Sequence[Pair] = ()
    decided: Sequence[Pair] = ()
    sides: Counter[str] = field(init=False)  # how often left, less how often right
    prompts: Counter[str] = field(init=False)
    blocks: Counter[Block] = field(init=False)

    def __post_init__(self) -> None:
        self.sides, self.prompts, self.blocks = Counter(), Counter(), Counter()
        for vote in self.votes:
            self._count(vote.left, vote.right, (vote.prompt_id, vote.seed))

    def holding(self, held: Sequence[Pair]) -> "Sight":
        """As if the pairs that wait in the browser had been judged."""
        after = Sight(self.votes, [*self.own, *held], self.decided)
        for pair in held:
            after._count(pair.left, pair.right, pair.block)
        return after

    def _count(self, left: str, right: str, block: Block) -> None:
        self.sides[left] += 1
        self.sides[right] -= 1
        self.prompts[block[0]] += 1
        self.blocks[block] += 1


def next_pair(
    shown_on: Mapping[str, frozenset[Block]],
    sight: Sight,
    held: Sequence[Pair],
    rng: Random,
) -> Pair | None:
    """The next pair for a rater; None where every pair was seen.

    `shown_on`: recipe -> blocks it has an image on. `held`: pairs on their way to the screen.
    """
    again = _repeat(shown_on, sight, held, rng)
    if again is not None:
        return again
    sight = sight.holding(held)
    seen = {(pair.both, pair.block) for pair in sight.own}
    recipes = sorted(shown_on)
    awaited = [Vote(*pair.block, pair.left, pair.right, "tie") for pair in held]
    worth = values(recipes, [*sight.votes, *awaited], rng)
    in_hand = {pair.both for pair in held}
    for i, j in _by_worth(worth, rng):
        both = frozenset((recipes[i], recipes[j]))
        if both in in_hand and len(recipes) > 2:
            continue
        free = [b for b in _shared(shown_on, both) if (both, b) not in seen]
        if free:
            return _sided(both, _least_seen(free, sight, rng), sight, rng)
    return _any_left(shown_on, seen, sight, rng)


def values(recipes: Sequence[str], votes: Sequence[Vote], rng: Random) -> Floats:
    """[K, K]: what a vote on each pair of recipes is worth; 0 on and below the diagonal."""
    mean, spread = posterior(recipes, votes)
    drawn = np.random.default_rng(rng.getrandbits(64)).multivariate_normal(
        mean, spread, size=DRAWS, method="cholesky"
    )
    k = len(recipes)
    top = np.argpartition(-drawn, 1, axis=1)[:, :2]
    leaders = np.zeros((k, k))
    np.add.at(leaders, (top.min(axis=1), top.max(axis=1)), 1 / DRAWS)
    gap = mean[:, None] - mean[None, :]
    var = np.diag(spread)[:, None] + np.diag(spread)[None, :] - 2 * spread
    even = 1 / (2 + 2 * np.cosh(np.clip(gap, -30, 30)))  # p (1 - p)
    told = np.log1p(np.maximum(var, 0) * even)
    worth: Floats = np.triu(told * (leaders + CURIOUS / (k * k)), 1)
    return worth


def posterior(recipes: Sequence[str], votes: Sequence[Vote]) -> tuple[Floats, Floats]:
    """(means [K], covariance [K, K]) of the strengths in log odds."""
    index = {name: i for i, name in enumerate(recipes)}
    kept = [v for v in votes if v.left in index and v.right in index]
    k = len(recipes)
    wins = np.zeros((k, k))
    for v in kept:
        i, j = index[v.left], index[v.right]
        wins[i, j] += {"left": 1.0, "tie": 0.5}.get(v.choice, 0.0)
        wins[j, i] += {"right": 1.0, "tie": 0.5}.get(v.choice, 0.0)
    games = wins + wins.T
    x = np.zeros(k)
    bend = np.eye(k)
    for _ in range(30):
        chance = 1 / (1 + np.exp(x[None, :] - x[:, None]))
        slope = (wins - games * chance).sum(axis=1) - x / PRIOR**2
        side = games * chance * (1 - chance)
        bend = np.diag(side.sum(axis=1) + 1 / PRIOR**2) - side
        step = np.linalg.solve(bend, slope)
        x += np.clip(step, -2, 2)
        if np.abs(step).max(initial=0) < 1e-6:
            break
    spread: Floats = np.asarray(np.linalg.inv(bend), dtype=float)
    return x, spread


def _by_worth(worth: Floats, rng: Random) -> Iterator[tuple[int, int]]:
    """Pairs of indices, the worthiest first; equals in random order."""
    rows, columns = np.triu_indices(len(worth), 1)
    jitter = np.array([rng.random() for _ in rows])
    for n in np.lexsort((jitter, -np.round(worth[rows, columns], 12))).tolist():
        yield int(rows[n]), int(columns[n])


def _shared(shown_on: Mapping[str, frozenset[Block]], both: frozenset[str]) -> frozenset[Block]:
    first, second = both
    return shown_on[first] & shown_on[second]


def _least_seen(free: Sequence[Block], sight: Sight, rng: Random) -> Block:
    """Prompts evenly, then seeds, then chance."""
    return min(sorted(free), key=lambda b: (sight.prompts[b[0]], sight.blocks[b], rng.random()))


def _sided(both: frozenset[str], block: Block, sight: Sight, rng: Random) -> Pair:
    """Who was at the left more often goes to the right; a coin where that is even."""
    first, second = rng.sample(sorted(both), 2)
    if sight.sides[first] > sight.sides[second]:
        first, second = second, first
    return Pair(block, first, second)


def _repeat(
    shown_on: Mapping[str, frozenset[Block]], sight: Sight, held: Sequence[Pair], rng: Random
) -> Pair | None:
    """Now and then a pair that was judged a while ago, with swapped sides, once."""
    turns = len(sight.own) + len(held)
    if not turns or turns % REPEAT_EVERY:
        return None
    times = Counter((pair.both, pair.block) for pair in (*sight.own, *held))
    old = sight.decided[: max(0, len(sight.decided) - REPEAT_AFTER)]
    once = [
        pair
        for pair in old
        if times[pair.both, pair.block] == 1
        and all(pair.block in shown_on.get(name, ()) for name in pair.both)
    ]
    if not once:
        return None
    pair = rng.choice(once)
    return Pair(pair.block, pair.right, pair.left, repeat=True)


def _any_left(
    shown_on: Mapping[str, frozenset[Block]],
    seen: set[tuple[frozenset[str], Block]],
    sight: Sight,
    rng: Random,
) -> Pair | None:
    """The last pairs: also of recipes that are in hand."""
    names = sorted(shown_on)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            both = frozenset((first, second))
            free = [b for b in _shared(shown_on, both) if (both, b) not in seen]
            if free:
                return _sided(both, _least_seen(free, sight, rng), sight, rng)
    return None
