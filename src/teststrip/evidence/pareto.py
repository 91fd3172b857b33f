"""Quality against seconds per image: a question of taste, so the front is shown, not a sum."""

from collections.abc import Sequence

from teststrip.evidence.ranking import Ranked


def front(rows: Sequence[Ranked]) -> tuple[str, ...]:
    """The recipes that no other beats in both gain and seconds (by point estimates), fast first.

    Only finalists are asked: a gain from a stopped recipe's few images is too often luck.
    """
    known = [r for r in rows if r.seconds is not None and r.level == 0 and r.gain.units]
    ordered = sorted(known, key=lambda r: (r.seconds, -r.gain.mean))
    found: list[str] = []
    highest = float("-inf")
    for row in ordered:
        if row.gain.mean > highest:
            found.append(row.recipe_id)
            highest = row.gain.mean
    return tuple(found)
