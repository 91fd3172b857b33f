"""People's blind votes -> a ranking with intervals: Bradley-Terry with ties and position bias.

Intervals come from resampling whole prompts: votes on one prompt are alike. They are expanded
percentile intervals (Hesterberg 2015): a plain percentile interval is too narrow for few prompts,
so its arms are stretched by sqrt(P / (P - 1)) t / z. And no arm is shorter than independent votes
would make it: a recipe that won both of its two pairs wins them in every resample, too.
`benchmarks/evidence/votes.py` measures how often they hold the truth.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from teststrip.errors import ConfigError
from teststrip.evidence import bradley_terry
from teststrip.evidence.grid import Ints
from teststrip.evidence.interval import Floats, Interval
from teststrip.evidence.numbers import count

CHOICES = ("left", "right", "tie")
FEW_PROMPTS = 8
MOST = 2000  # recipes that are ranked


@dataclass(frozen=True)
class Vote:
    """One blind pair: the same prompt and seed, two recipes, which side was better.

    `choice`: `left`, `right` or `tie`. `rater`: who, may be empty. `vote_id`: the vote's name
    where it is stored. Raises ConfigError for another choice, or a recipe against itself.
    """

    prompt_id: str
    seed: int
    left: str
    right: str
    choice: str
    rater: str = ""
    vote_id: str = ""

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise ConfigError(f"choice {self.choice!r}: {', '.join(CHOICES)} are accepted")
        if self.left == self.right:
            raise ConfigError(f"recipe {self.left!r} stands against itself; a pair needs two")


@dataclass(frozen=True)
class Strength:
    """One recipe in people's eyes. `strength`: log odds against the average recipe, interval by
    prompt. `beats_average`: the chance of being preferred to an average recipe, ties half.
    `votes`: pairs it was in."""

    recipe_id: str
    strength: Interval
    beats_average: float
    votes: int


@dataclass(frozen=True)
class People:
    """The ranking by votes, best first.

    `votes`, `prompts`, `raters`: those behind the ranking (votes without a name are one rater's).
    `left_bias`: log odds that the left side gets for being left, with interval; `is_biased` if that
    excludes 0. `ties`: share of pairs called a tie. `unconnected`: recipes that no chain of votes
    links with the largest group; they are left out. `consistent`: share of pairs that one rater saw
    twice (`repeats`, sides swapped or not) and judged alike, None if there were none. `note`: what
    limits it.
    """

    strengths: tuple[Strength, ...]
    votes: int
    prompts: int
    raters: int
    ties: float
    left_bias: Interval
    is_biased: bool
    unconnected: tuple[str, ...]
    consistent: float | None
    note: str
    repeats: int = 0
    confidence: float = 0.95


def people(votes: Sequence[Vote], confidence: float = 0.95) -> People | None:
    """Rank the recipes by people's votes; None without votes."""
    if not votes:
        return None
    names, unconnected = _largest_group(votes)
    inside = set(names)
    kept = [v for v in votes if v.left in inside and v.right in inside]
    index = {name: i for i, name in enumerate(names)}
    prompts = {p: i for i, p in enumerate(dict.fromkeys(v.prompt_id for v in kept))}
    left = np.array([index[v.left] for v in kept], dtype=np.intp)
    right = np.array([index[v.right] for v in kept], dtype=np.intp)
    prompt = np.array([prompts[v.prompt_id] for v in kept], dtype=np.intp)
    choice = np.array([CHOICES.index(v.choice) for v in kept], dtype=np.intp)

    counted = bradley_terry.tally(left, right, choice, prompt, len(names))
    found = bradley_terry.fit(counted)
    drawn = bradley_terry.refits(counted, found) if len(prompts) > 1 else None
    judged_in = _prompts_by_recipe(left, right, prompt, len(names))
    judged = np.bincount(left, minlength=len(names)) + np.bincount(right, minlength=len(names))
    errors, error_of_left = bradley_terry.errors(counted, found)
    tie = float(np.exp(found.tie[0]))

    def around(mean: float, error: float, draws: Floats | None, units: int) -> Interval:
        return expanded(
            mean, error, draws, units=units, clusters=len(prompts), confidence=confidence
        )

    strengths = [
        Strength(
            recipe_id=name,
            strength=around(
                float(found.strength[0, i]),
                float(errors[i]),
                None if drawn is None else drawn.strength[:, i],
                int(judged_in[i]),
            ),
            beats_average=_beats(float(found.strength[0, i]), tie),
            votes=int(judged[i]),
        )
        for i, name in enumerate(names)
    ]
    left_draws = None if drawn is None else drawn.left
    bias = around(float(found.left[0]), error_of_left, left_draws, len(prompts))
    repeats, consistent = _consistency(kept)
    raters = len({v.rater for v in kept})
    return People(
        strengths=tuple(sorted(strengths, key=lambda s: (-s.strength.mean, s.recipe_id))),
        votes=len(kept),
        prompts=len(prompts),
        raters=raters,
        ties=float((choice == bradley_terry.TIE).mean()),
        left_bias=bias,
        is_biased=bias.low is not None and bias.high is not None and not bias.low <= 0 <= bias.high,
        unconnected=unconnected,
        consistent=consistent,
        note=_note(len(votes) - len(kept), len(prompts), raters, held=bool(found.held[0])),
        repeats=repeats,
        confidence=confidence,
    )


def expanded(
    mean: float,
    error: float,
    draws: Floats | None,
    *,
    units: int,
    clusters: int,
    confidence: float,
) -> Interval:
    """The expanded percentile interval of `mean` from `draws`; no bounds below two units.

    `error`: standard error if votes were independent, the least that is believed.
    """
    from scipy import stats

    if draws is None or units < 2:
        return Interval(mean, None, None, units)
    tail = (1 - confidence) / 2
    z = float(stats.norm.ppf(1 - tail))
    stretch = (clusters / (clusters - 1)) ** 0.5 * float(stats.t.ppf(1 - tail, clusters - 1)) / z
    low, high = (stretch * (np.quantile(draws, [tail, 1 - tail]) - mean)).tolist()
    return Interval(mean, mean + min(low, -z * error), mean + max(high, z * error), units)


def _beats(strength: float, tie: float) -> float:
    """Chance of being preferred to a recipe of strength 0, ties half, sides even."""
    won, lost = np.exp(strength / 2), np.exp(-strength / 2)
    return float((won + tie / 2) / (won + lost + tie)) if np.isfinite(tie) else 0.5


def _largest_group(votes: Sequence[Vote]) -> tuple[list[str], tuple[str, ...]]:
    """Recipes linked by votes, the largest group (the one with most votes if two are as large)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    often = Counter(name for v in votes for name in (v.left, v.right))
    names = sorted(often)
    if len(names) > MOST:
        names = sorted(sorted(names, key=lambda name: -often[name])[:MOST])
    index = {name: i for i, name in enumerate(names)}
    ends = [(index[v.left], index[v.right]) for v in votes if v.left in index and v.right in index]
    rows, columns = np.array(ends, dtype=np.intp).reshape(-1, 2).T
    shape = (len(names), len(names))
    links = coo_array((np.ones(len(ends)), (rows, columns)), shape=shape)
    _, group = connected_components(links, directed=False)
    sizes = np.bincount(group)
    seen = np.bincount(group, weights=[often[name] for name in names])
    largest = max(range(len(sizes)), key=lambda g: (sizes[g], seen[g], -g))
    inside = [name for name, g in zip(names, group, strict=True) if g == largest]
    return inside, tuple(sorted(set(often) - set(inside)))


def _prompts_by_recipe(left: Ints, right: Ints, prompt: Ints, recipes: int) -> Ints:
    """[K]: prompts on which each recipe was judged."""
    both = np.unique(np.stack([np.r_[left, right], np.r_[prompt, prompt]]), axis=1)
    counted: Ints = np.bincount(both[0], minlength=recipes)
    return counted


def _consistency(votes: Sequence[Vote]) -> tuple[int, float | None]:
    """(pairs that one rater saw more than once, share of their repetitions judged alike)."""
    seen: dict[tuple[str, str, int, str, str], list[str]] = defaultdict(list)
    for v in votes:
        first, second = sorted((v.left, v.right))
        choice = {"left": v.left, "right": v.right}.get(v.choice, "")
        seen[v.rater, v.prompt_id, v.seed, first, second].append(choice)
    repeated = [choices for choices in seen.values() if len(choices) > 1]
    alike = both = 0
    for choices in repeated:
        alike += sum(n * (n - 1) // 2 for n in Counter(choices).values())
        both += len(choices) * (len(choices) - 1) // 2
    return len(repeated), alike / both if both else None


def _note(left_out: int, prompts: int, raters: int, *, held: bool) -> str:
    found = []
    if prompts == 1:
        found.append("All votes are on one prompt, so there are no intervals: vote on more prompts")
    elif prompts < FEW_PROMPTS:
        found.append(f"Only {prompts} prompts: the intervals are rough, vote on more prompts")
    if raters == 1:
        found.append("One rater: this is one person's taste")
    if held:
        found.append(
            "The votes alone put a strength at infinity (a recipe won or lost every pair, or one "
            f"side or answer took all); a ridge of {bradley_terry.RIDGE} holds it"
        )
    if left_out:
        found.append(
            f"{count(left_out, 'vote')} left out: no chain of votes links their recipes with the "
            "largest group"
        )
    return ". ".join(found) + ("." if found else "")
