"""What was voted so far, as the choice of the next pair and the page need it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError
from teststrip.evidence.people import Vote
from teststrip.studio.rate.choosing import Pair, Sight
from teststrip.study.votes import SKIP, events

ROUND = 20  # pairs of a session


def sight_of(rows: Sequence[Mapping[str, Any]], rater: str) -> Sight:
    """Everyone's votes, and what this rater has seen. `rows` as `events` gives them."""
    own = [row for row in rows if row["rater"] == rater]
    return Sight(
        votes=votes_in(rows),
        own=[pair_of(row) for row in own],
        decided=[pair_of(row) for row in own if row["choice"] != SKIP],
    )


def votes_in(rows: Sequence[Mapping[str, Any]]) -> list[Vote]:
    """The decided ones; what cannot be a vote is left out."""
    names = ("prompt_id", "seed", "left", "right", "choice", "rater")
    found = []
    for row in rows:
        if row["choice"] == SKIP:
            continue
        try:
            found.append(Vote(**{name: row[name] for name in names}, vote_id=str(row["id"])))
        except ConfigError:
            continue
    return found


def pair_of(row: Mapping[str, Any]) -> Pair:
    """A vote's pair, sides as they were."""
    return Pair((str(row["prompt_id"]), int(row["seed"])), str(row["left"]), str(row["right"]))


def progress(folder: Path, rater: str) -> dict[str, Any]:
    """For the page: this rater's pairs, the round they are in, the last that can be undone."""
    rows = events(folder)
    own = [row for row in rows if row["rater"] == rater]
    done = sum(row["choice"] != SKIP for row in own)
    everyone = [row for row in rows if row["choice"] != SKIP]
    return {
        "done": done,
        "round": ROUND,
        "in_round": done % ROUND,
        "all": len(everyone),
        "raters": len({row["rater"] for row in everyone}),
        "last": own[-1]["id"] if own else None,
    }
