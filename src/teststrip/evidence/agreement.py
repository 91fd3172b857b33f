"""Do the scorers agree with each other, and which one agrees with people?"""

from dataclasses import dataclass

from teststrip.evidence.interval import Interval


@dataclass(frozen=True)
class Pair:
    """Two scores, both turned so that higher is better.

    `recipes`: Spearman's rank correlation of the recipes' means on the complete part; `images`: of
    single images after each block's mean is taken off (so that easy prompts count for nothing).
    Intervals by prompt. `same_winner`: both crown the same recipe.
    """

    first: str
    second: str
    recipes: Interval
    images: Interval
    same_winner: bool


@dataclass(frozen=True)
class Scorer:
    """One score. `constant`: it never differs, so it can say nothing. `leader`: recipe it crowns.

    `with_votes`: share of people's decided pairs in which the picture they chose scores higher,
    ties half, with its interval by prompt; None without votes. `votes`: pairs behind that.
    """

    column: str
    constant: bool
    leader: str | None
    with_votes: Interval | None
    votes: int


@dataclass(frozen=True)
class Agreement:
    """All scores of the table, the objective first; `pairs` of those that are not constant."""

    scorers: tuple[Scorer, ...]
    pairs: tuple[Pair, ...]
    note: str
