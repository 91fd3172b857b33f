"""A study's table of images and its facts: from its folder, or from the record in MLflow."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError, StudyError

if TYPE_CHECKING:
    import pandas as pd

    from teststrip.evidence.facts import StudyFacts
    from teststrip.evidence.people import Vote
    from teststrip.track.reader import StudyRecord


@dataclass(frozen=True)
class Recorded:
    """What evidence needs of a study. `where`: its folder, or MLflow's address."""

    table: "pd.DataFrame"
    facts: "StudyFacts"
    votes: "list[Vote]"
    read_png: Callable[[str], bytes]
    where: str


def table_of(name: str, home: Path) -> Recorded:
    """A study that came to its end: here under `home`, else as MLflow has it.

    The record is asked only where the study is not here and MLFLOW_TRACKING_URI is set (or `home`
    has a store of its own), so that another machine needs nothing but that address. Raises
    StudyError where neither has it or it has no result yet, StorageError where the store refuses.
    """
    from teststrip.study import Study
    from teststrip.study.folder import StudyFolder
    from teststrip.study.study import record_of
    from teststrip.wire import importing

    folder = StudyFolder(home / "studies" / name)
    if not folder.exists() and (os.environ.get("MLFLOW_TRACKING_URI") or _has_store(home)):
        found = _found_in_mlflow(name, home)
        if found is not None:
            return found
    record = record_of(name, home)
    if importing.is_import(record):
        return importing.recorded(folder.path, record)
    return _local(Study(record["config"], home=home))


def _local(study: Any) -> Recorded:
    from teststrip.evidence import report, table
    from teststrip.wire.facts import facts_of
    from teststrip.wire.people import votes_of

    facts = facts_of(study)
    return Recorded(
        table=table.load(study.folder.table, facts.objective),
        facts=facts,
        votes=votes_of(study.folder.path),
        read_png=report.file_reader(study.folder.path),
        where=str(study.folder.path),
    )


def _has_store(home: Path) -> bool:
    return (home / "mlflow.db").exists()


def _found_in_mlflow(name: str, home: Path) -> Recorded | None:
    """None where MLflow can be reached but has no such study."""
    from teststrip.study.config import is_name
    from teststrip.track.reader import open_study

    if not is_name(name):
        return None
    try:
        record = open_study(home, name)
    except StorageError as exc:
        if "is recorded there" in str(exc):
            raise StudyError(f"{exc}; nor is it in {home / 'studies'}") from exc
        raise
    return from_record(record)


def from_record(record: "StudyRecord") -> Recorded:
    """A study from MLflow alone: table, config and summary are files of its run.

    Raises StudyError where it has no summary yet, StorageError where a file cannot be read.
    """
    from teststrip.evidence import table
    from teststrip.wire.people import recorded_votes

    config = json.loads(record.file("config.json"))
    try:
        summary = json.loads(record.file("study.json"))
    except StorageError as exc:
        raise StudyError(
            f"study {record.name!r} is in MLflow without a summary (state {record.status}); it "
            "gets one when `teststrip study run` or `report` comes to its end"
        ) from exc
    facts = _facts(config, summary)
    return Recorded(
        table=table.checked(record.table(), f"table of study {record.name}", facts.objective),
        facts=facts,
        votes=recorded_votes(record),
        read_png=record.png,
        where=f"MLflow, run {record.run_id}",
    )


def _facts(config: dict[str, Any], summary: dict[str, Any]) -> "StudyFacts":
    """The facts that `facts_of` would give, of what the record holds."""
    from teststrip.evidence.facts import StudyFacts
    from teststrip.study.config import check

    study = check(config, f"config of study {summary.get('study')}")
    return StudyFacts(
        name=study.name,
        objective=str(summary["objective"]),
        higher_is_better=bool(summary["higher_is_better"]),
        varied=tuple(dict.fromkeys([*study.space, *study.baseline])),
        baseline=study.baseline_recipe.recipe_id,
        threshold=study.threshold,
        seconds=summary.get("seconds"),
        peak_rss_mb=summary.get("peak_rss_mb"),
        images_full_grid=summary.get("images_full_grid"),
        command="teststrip study run study.yaml",
        design=study.design.kind,
        model=study.baseline_recipe.model,
        held_out_prompts=len(study.prompts.split()[1]),
        source="study.yaml",
    )
