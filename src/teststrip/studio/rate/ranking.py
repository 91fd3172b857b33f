"""What all votes say so far: the ranking with intervals, and which scorer agrees with the eyes."""

# ruff: noqa: S608 - SQL holds the index's own table names and quoted columns only

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from teststrip.evidence.people import People, Strength, Vote, people
from teststrip.studio.index import Entry, Index
from teststrip.studio.rate.history import votes_in
from teststrip.studio.rate.told import words

if TYPE_CHECKING:
    from teststrip.evidence.interval import Interval

MOST_SHOWN = 24


@dataclass(frozen=True)
class Row:
    """One recipe as the page draws it; `at`, `low`, `high`: percent of the axis."""

    strength: Strength
    words: str
    at: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Eye:
    """One scorer against the votes."""

    column: str
    share: "Interval"
    votes: int


@dataclass(frozen=True)
class Ranking:
    """`zero`: where the average recipe stands on the axis, in percent."""

    people: People
    rows: tuple[Row, ...]
    zero: float
    eyes: tuple[Eye, ...]
    by_eye: str


class Rankings:
    """The last ranking of each study, until a vote comes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], tuple[Any, Ranking | None]] = {}

    def ranking(
        self, index: Index, entry: Entry, events: Sequence[Mapping[str, Any]], rater: str = ""
    ) -> Ranking | None:
        """None without votes. `rater`: of that one's votes alone."""
        rows = [row for row in events if not rater or row["rater"] == rater]
        state = entry.version, tuple(row["id"] for row in rows)
        key = entry.name, rater
        with self._lock:
            kept = self._made.get(key)
            if kept is None or kept[0] != state:
                kept = self._made[key] = state, _make(index, entry, votes_in(rows))
            return kept[1]


def _make(index: Index, entry: Entry, votes: list[Vote]) -> Ranking | None:
    found = people(votes)
    if found is None:
        return None
    shown = found.strengths[:MOST_SHOWN]
    ends = [v for s in shown for v in (s.strength.low, s.strength.mean, s.strength.high)]
    reach = max([abs(v) for v in ends if v is not None] + [0.5])

    def place(value: float | None) -> float | None:
        return None if value is None else round(50 + 48 * value / reach, 2)

    names = words(index, entry)
    rows = tuple(
        Row(
            s,
            names.get(s.recipe_id, "") or s.recipe_id,
            place(s.strength.mean) or 0.0,
            place(s.strength.low),
            place(s.strength.high),
        )
        for s in shown
    )
    eyes, text = _eyes(index, entry, votes, found.confidence)
    return Ranking(found, rows, 50.0, eyes, text)


def _eyes(
    index: Index, entry: Entry, votes: list[Vote], confidence: float
) -> tuple[tuple[Eye, ...], str]:
    """Each scorer's share of decided pairs in which the chosen picture scores higher."""
    from teststrip.evidence.eyes import by_eye, judged

    if not entry.scores or not entry.paired:
        return (), ""
    import pandas as pd

    columns = ", ".join('"' + s.column.replace('"', '""') + '"' for s in entry.scores)
    table = pd.DataFrame(
        index.query(
            f"SELECT recipe_id, prompt_id, seed, {columns} FROM {index.table(entry.name)} "
            "WHERE status = 'ok'"
        )
    )
    if not len(table):
        return (), ""
    moving = [s for s in entry.scores if s.low is not None and s.low != s.high]
    judges = {
        s.column: judged(table, s.column, 1 if s.higher_is_better else -1, votes) for s in moving
    }
    able = [Eye(c, e.share(confidence), e.votes) for c, e in judges.items() if e.votes]
    able.sort(key=lambda eye: (-eye.share.mean, eye.column))
    return tuple(able), by_eye(judges, confidence) if judges else ""
