"""Studies that are only in MLflow, brought into the studio: table, facts and votes, no pictures.

Pictures are read from the tracker when somebody looks at them, and kept. What evidence needs is
kept as well, so that a tracker that is down later takes pictures away and nothing else.
"""

import json
import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from teststrip.errors import StorageError, TeststripError
from teststrip.files import write_atomic
from teststrip.study.marks import MARKS
from teststrip.study.votes import VOTES, merge

if TYPE_CHECKING:
    import pandas as pd

    from teststrip.track.reader import StudyRecord
    from teststrip.wire.tables import Recorded

log = logging.getLogger(__name__)
CONFIG, SUMMARY = "config.json", "study.json"  # as the run has them
KEPT = "record"  # the folder of their copies
STATES = {"finished": "finished", "budget": "budget", "running": "running", "imported": "imported"}


@dataclass(frozen=True)
class Brought:
    """`studies`: brought in now. `here`: run on this machine, so left alone. `faults`: name -> why
    a study could not be brought."""

    studies: tuple[str, ...]
    here: tuple[str, ...]
    faults: dict[str, str]


def bring_from_mlflow(home: Path) -> Brought:
    """Bring every study of the tracker (MLFLOW_TRACKING_URI, else the home's own store).

    May be repeated: what is there is written anew, votes are joined, also those of studies that
    were run here and are rated elsewhere. Raises StorageError where the tracker cannot be
    reached.
    """
    from teststrip.studio.index.scan import RECORD, REMOTE, TABLE
    from teststrip.study.config import is_name
    from teststrip.track.reader import studies

    brought, here, faults = list[str](), list[str](), dict[str, str]()
    seen = set()
    for record in studies(home):  # the newest of each name
        if record.name in seen:
            continue
        seen.add(record.name)
        if not is_name(record.name):
            faults[record.name] = "its name cannot be the name of a folder"
            continue
        own = home / "studies" / record.name
        is_here = (own / RECORD).exists()
        folder = own if is_here else home / REMOTE / record.name
        try:
            there = record.files()  # asked once
            if not is_here:
                _keep(record, there, folder, record_name=RECORD, table_name=TABLE)
            _join_votes(record, there, folder)
        except TeststripError as exc:
            faults[record.name] = str(exc)
            continue
        (here if is_here else brought).append(record.name)
    return Brought(tuple(brought), tuple(here), faults)


def brought_study(folder: Path) -> "Recorded":
    """What evidence needs of a study that was brought to `folder`; the tracker is not asked.

    Raises StudyError where it had no summary when it was brought, StorageError for damaged files.
    """
    from teststrip.wire.people import votes_of
    from teststrip.wire.tables import from_record

    found = from_record(cast("StudyRecord", _Kept(folder)))
    return replace(found, votes=votes_of(folder))


class _Kept:
    """The files of a `StudyRecord`, from their copies."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = folder.name
        self.status = str(_object(_read(folder / "study.json")).get("state", "running"))
        self.run_id = str(_object(_read(folder / "study.json")).get("mlflow_run", ""))

    def file(self, name: str) -> bytes:
        return _read(self._folder / KEPT / name)

    def has_file(self, name: str) -> bool:
        return (self._folder / KEPT / name).exists()

    def table(self) -> "pd.DataFrame":
        from teststrip.evidence.table_file import read_frame
        from teststrip.studio.index.scan import TABLE

        return read_frame(self._folder / TABLE)

    def png(self, path: str) -> bytes:
        return _read(self._folder / path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise StorageError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def _keep(
    record: "StudyRecord", there: set[str], folder: Path, *, record_name: str, table_name: str
) -> None:
    """The table first, the record of it last: a study is there once it is whole."""
    write_atomic(folder / table_name, record.file(table_name))
    # Nothing where the run has no such file: a running study has no summary.
    files = {name: record.file(name) if name in there else b"" for name in (CONFIG, SUMMARY)}
    for name, data in files.items():
        if data:
            write_atomic(folder / KEPT / name, data)
    facts = _facts(record, _object(files[CONFIG]), _object(files[SUMMARY]))
    write_atomic(folder / record_name, json.dumps(facts, indent=1, ensure_ascii=False).encode())


def _join_votes(record: "StudyRecord", there: set[str], folder: Path) -> None:
    """Votes and marks that other machines sent."""
    for name in (VOTES, MARKS):
        if name in there:
            merge(folder / name, record.file(name))


def _facts(
    record: "StudyRecord", config: dict[str, Any], summary: dict[str, Any]
) -> dict[str, Any]:
    """What its study.json would say, as far as the index asks."""
    wanted = ("objective", "higher_is_better")
    result: dict[str, Any] = {name: summary[name] for name in wanted if name in summary}
    began = datetime.fromtimestamp(record.began_ms / 1000, UTC).isoformat(timespec="seconds")
    return {
        "created": began,
        "config": config,
        "state": STATES.get(record.status, "stopped"),
        "higher_is_better": _directions(result),
        "result": result,
        "mlflow_run": record.run_id,
    }


def _directions(result: dict[str, Any]) -> dict[str, bool]:
    """The record has the objective's; the built-in measurements' are known."""
    from teststrip.score.technical import TechnicalScorer

    known = dict(TechnicalScorer().columns)
    if "objective" in result:
        known[result["objective"]] = bool(result.get("higher_is_better", True))
    return known


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data or b"{}")
    except ValueError as exc:
        log.info("a file of a study's record is damaged: %s", exc)
        return {}
    return found if isinstance(found, dict) else {}
