"""Over-fitted, still falling, or neither: what the held-out loss does towards the end.

The last checkpoint is compared with every earlier one and the base model, Holm-corrected over
them, so that it is called over-fitted by chance in at most 5 % of runs (2.5 % where scores are
asked as well), however many checkpoints there are and whichever of them looks lowest.
"""

from dataclasses import dataclass

from teststrip.evidence.interval import Interval
from teststrip.evidence.ranking import BETTER, WORSE
from teststrip.train.select.criterion import Criterion

OVERFIT, FALLING, LEVEL = "over-fitted", "still falling", "neither rises nor falls for certain"


@dataclass(frozen=True)
class Trend:
    """`word`: one of the three. `since`: the step that the last one is worse than (over-fitted).

    `gain`: how much lower the loss was there; the interval is of this pair alone, and the pair was
    picked for its difference.
    """

    word: str
    last: int
    since: int | None = None
    gain: Interval | None = None


def trend(loss: Criterion) -> Trend:
    """What the loss does from its lowest step to the last."""
    steps = sorted(loss.order)
    last, earlier = steps[-1], steps[:-1]
    ranking = loss.ranked_against(last)
    rows = [ranking.row(str(step)) for step in earlier]
    lower = [row for row in rows if row.verdict == BETTER]
    if lower:
        most = max(lower, key=lambda row: row.gain.mean)
        return Trend(OVERFIT, last, int(most.recipe_id), most.gain)
    if all(row.verdict == WORSE for row in rows):
        return Trend(FALLING, last)
    return Trend(LEVEL, last)
