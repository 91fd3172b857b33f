"""Studies that are only in MLflow, brought into the studio's index: table and facts, no pictures.

Pictures are read from the tracker when somebody looks at them, and kept.
"""

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import TeststripError
from teststrip.files import write_atomic

if TYPE_CHECKING:
    from teststrip.track.reader import StudyRecord

log = logging.getLogger(__name__)
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

    May be repeated: what is there is written anew. Raises StorageError where the tracker cannot be
    reached.
    """
    from teststrip.studio.index.scan import RECORD, REMOTE, TABLE
    from teststrip.study.config import is_name
    from teststrip.track.reader import studies

    brought, here, faults = [], [], {}
    seen = set()
    for record in studies(home):  # the newest of each name
        if record.name in seen:
            continue
        seen.add(record.name)
        if not is_name(record.name):
            faults[record.name] = "its name cannot be the name of a folder"
        elif (home / "studies" / record.name / RECORD).exists():
            here.append(record.name)
        else:
            folder = home / REMOTE / record.name
            try:
                write_atomic(folder / TABLE, record.file(TABLE))
                facts = json.dumps(_facts(record), indent=1, ensure_ascii=False)
                write_atomic(folder / RECORD, facts.encode())
                brought.append(record.name)
            except TeststripError as exc:
                faults[record.name] = str(exc)
    return Brought(tuple(brought), tuple(here), faults)


def _facts(record: "StudyRecord") -> dict[str, Any]:
    """What its study.json would say, as far as the index asks."""
    config = _json(record, "config.json")
    summary = _json(record, "study.json")
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


def _json(record: "StudyRecord", name: str) -> dict[str, Any]:
    try:
        found = json.loads(record.file(name))
    except (TeststripError, ValueError) as exc:
        log.info("study %s has no %s in its record: %s", record.name, name, exc)
        return {}
    return found if isinstance(found, dict) else {}
