"""People's votes on a study's images: `votes.jsonl` in its folder, appended to, never rewritten.

Each line is one vote with an `id`. A vote whose id is there already is not written again, so an
import or a request may be repeated, or taken up after a crash. A line `{"undo": id}` takes a vote
back for good. Any process may append while the study runs.
"""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError
from teststrip.study import lines

log = logging.getLogger(__name__)
VOTES = "votes.jsonl"
FIELDS = ("id", "prompt_id", "seed", "left", "right", "choice", "rater")
MORE = ("left_image", "right_image", "at")  # image keys as shown, when; imported votes have none
SKIP = "skip"
UNDO = "undo"
FAULTS_SHOWN = 20


def stored_votes(folder: Path) -> list[dict[str, Any]]:
    """The votes that hold, with `FIELDS`, in the order they came: neither skipped nor undone.

    Raises StorageError.
    """
    return votes_in(lines.whole(folder / VOTES), folder / VOTES)


def votes_in(data: bytes, path: Path) -> list[dict[str, Any]]:
    """`stored_votes` of a copy of the file; `path` is for warnings."""
    rows = (row for row in _held(path, lines.parsed(path, data)) if row["choice"] != SKIP)
    return [{name: row[name] for name in FIELDS} for row in rows]


def events(folder: Path) -> list[dict[str, Any]]:
    """Votes and skipped pairs that were not undone, with `FIELDS` and what there is of `MORE`."""
    return _held(folder / VOTES, lines.read(folder / VOTES))


def append_votes(folder: Path, votes: Iterable[Mapping[str, Any]]) -> int:
    """Write the votes that are not there yet; returns how many those were. All of them or none.

    `votes`: mappings with `FIELDS`, and `MORE` if known. An id that was undone stays undone.
    Raises ConfigError if an id is there with another vote, StorageError when the disk is full or
    the folder may not be written to.
    """
    path = folder / VOTES

    def new_of(there: list[dict[str, Any]]) -> list[dict[str, Any]]:
        known = {row["id"]: row for row in _told_apart(path, there)[0]}
        new, faults = [], []
        for vote in votes:
            row = {name: vote[name] for name in FIELDS}
            found = known.setdefault(row["id"], row)
            if found is row:
                new.append(row | {name: vote[name] for name in MORE if name in vote})
            elif differing := _differing(found, row):
                faults.append(f"id {row['id']!r}: is there with {differing}")
        if faults:
            more = len(faults) - FAULTS_SHOWN
            shown = faults[:FAULTS_SHOWN] + ([f"and {more} more"] if more > 0 else [])
            raise ConfigError(f"{path}: {len(faults)} votes contradict stored ones", shown)
        return new

    return lines.append(path, new_of)


def undo_vote(folder: Path, vote_id: str, rater: str, at: str = "") -> dict[str, Any] | None:
    """Take a rater's own vote or skip back; the vote, or None if it was taken back before.

    Raises ConfigError where this rater has no such vote, StorageError.
    """
    path, found = folder / VOTES, list[dict[str, Any]]()

    def new_of(there: list[dict[str, Any]]) -> list[dict[str, Any]]:
        votes, undone = _told_apart(path, there)
        own = [row for row in votes if row["id"] == vote_id and row["rater"] == rater]
        if not own:
            raise ConfigError(f"vote {vote_id!r}: {rater or 'nobody'} has none of that id here")
        if vote_id in undone:
            return []
        found.extend(own)
        return [{UNDO: vote_id, "rater": rater, "at": at}]

    lines.append(path, new_of)
    return found[0] if found else None


def merge(path: Path, data: bytes) -> int:
    """Append the rows of another copy of the file (MLflow's) that are not here; returns how many.

    Votes, marks and undone ids come once each, whichever machine they were made on.
    """
    theirs = lines.parsed(path, data[: data.rfind(b"\n") + 1])

    def new_of(there: list[dict[str, Any]]) -> list[dict[str, Any]]:
        known = {_name(row) for row in there}
        return [row for row in theirs if _name(row) != ("", "") and _name(row) not in known]

    return lines.append(path, new_of)


def _name(row: Mapping[str, Any]) -> tuple[str, str]:
    kind = UNDO if UNDO in row else "id"
    return (kind, str(row[kind])) if row.get(kind) else ("", "")


def _held(path: Path, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    votes, undone = _told_apart(path, rows)
    return [row for row in votes if row["id"] not in undone]


def _told_apart(
    path: Path, rows: Iterable[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], set[str]]:
    """(votes, ids that were undone); a row that is neither is left out, with a warning."""
    votes, undone = [], set()
    for number, row in enumerate(rows, 1):
        if UNDO in row:
            undone.add(str(row[UNDO]))
        elif all(name in row for name in FIELDS):
            votes.append({name: row[name] for name in (*FIELDS, *MORE) if name in row})
        else:
            log.warning("%s line %d is damaged and left out", path, number)
    return votes, undone


def _differing(there: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    return ", ".join(f"{n} {there[n]!r}, not {row[n]!r}" for n in FIELDS if there[n] != row[n])
