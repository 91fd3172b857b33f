"""People's votes of a study: from a file into its folder, and from there to the evidence."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StudyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pandas as pd

    from teststrip.evidence.agreement import Agreement
    from teststrip.evidence.people import People, Vote
    from teststrip.study import Study
    from teststrip.track.reader import StudyRecord

log = logging.getLogger(__name__)
VOTE = ("prompt_id", "seed", "left", "right", "choice", "rater")


@dataclass(frozen=True)
class Votes:
    """A study's votes and what they say. `added`: votes that an import brought anew.

    `people`, `agreement`: None without votes; `agreement` also without a score to compare with.
    `names`: recipe id -> its settings in words.
    """

    votes: int
    added: int
    people: "People | None"
    agreement: "Agreement | None"
    names: dict[str, str]


def votes_of(folder: Path) -> "list[Vote]":
    """The votes stored in a study's folder; one that cannot be is left out. Raises StorageError."""
    from teststrip.study.votes import stored_votes

    return _votes(stored_votes(folder), folder)


def recorded_votes(record: "StudyRecord") -> "list[Vote]":
    """The votes that were sent to MLflow with the study's run. Raises StorageError."""
    from teststrip.study.votes import VOTES, votes_in

    if not record.has_file(VOTES):
        return []
    return _votes(votes_in(record.file(VOTES), Path(VOTES)), Path(record.name))


def _votes(rows: "Iterable[Mapping[str, Any]]", where: Path) -> "list[Vote]":
    from teststrip.evidence.people import Vote

    found = []
    for row in rows:
        try:
            found.append(Vote(**{name: row[name] for name in VOTE}, vote_id=row["id"]))
        except ConfigError as exc:
            log.warning("%s: vote %r is left out: %s", where, row["id"], exc)
    return found


def import_votes(folder: Path, file: Path, table: "pd.DataFrame") -> int:
    """Check a file of votes against the study's table and store what is new; returns how many."""
    from teststrip.evidence import votes
    from teststrip.study.votes import append_votes

    found = votes.read(file, table)
    return append_votes(folder, (vars(vote) | {"id": vote.vote_id} for vote in found))


def votes_and_ranking(name: str, home: Path, file: Path | None = None) -> Votes:
    """Import `file` if there is one; then what all votes of the study under `home` say.

    Raises StudyError where the study has no images yet, ConfigError with the faults of the file.
    """
    from teststrip.evidence import table
    from teststrip.evidence.people import people
    from teststrip.study import Study
    from teststrip.study.study import record_of

    study = Study(record_of(name, home)["config"], home=home)
    folder = study.folder
    if not folder.table.exists():
        raise StudyError(f"study {name!r} has no images to vote on yet: teststrip study run FILE")
    images = table.load(folder.table)
    added = import_votes(folder.path, file, images) if file else 0
    votes = votes_of(folder.path)
    fields = table.varied_fields(images)
    settings = table.settings_of(images, fields)
    return Votes(
        votes=len(votes),
        added=added,
        people=people(votes),
        agreement=_agreement(study, images, votes) if votes else None,
        names={name: _in_words(own) or "as all others" for name, own in settings.items()},
    )


def _in_words(settings: "Mapping[str, object]") -> str:
    from teststrip.evidence.numbers import show

    return ", ".join(f"{field} {show(value)}" for field, value in settings.items())


def _agreement(study: "Study", images: "pd.DataFrame", votes: "list[Vote]") -> "Agreement | None":
    """None where the study has not come to its end, or no image has a score."""
    from teststrip.evidence.agreement import agreement
    from teststrip.evidence.grid import build
    from teststrip.wire.facts import facts_of

    try:
        facts = facts_of(study)
        return agreement(images, facts, build(images, facts), votes)
    except StudyError:
        return None
