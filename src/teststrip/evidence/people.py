"""People's blind votes -> a ranking with intervals: Bradley-Terry with ties and position bias."""

from dataclasses import dataclass

from teststrip.evidence.interval import Interval


@dataclass(frozen=True)
class Vote:
    """One blind pair: the same prompt and seed, two recipes, which side was better.

    `choice`: `left`, `right` or `tie`. `rater`: who, may be empty.
    """

    prompt_id: str
    seed: int
    left: str
    right: str
    choice: str
    rater: str = ""


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

    `left_bias`: log odds that the left side gets for being left, with interval; `is_biased` if that
    excludes 0. `ties`: share of pairs called a tie. `unconnected`: recipes that no chain of votes
    links with the largest group; they are left out. `consistent`: share of pairs that one rater saw
    twice and judged alike, None if there were none. `note`: what limits it.
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
