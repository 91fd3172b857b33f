"""Training runs that are only in MLflow: listed, and copied into the form of the folder."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.errors import StudyError
from teststrip.files import storage_error
from teststrip.studio.runs.run import COPIES
from teststrip.study.config import is_name

KIND, NAME_TAG = "training", "teststrip.run"
PARTS = ("run.json", "samples.parquet", "samples", "select.json")


@dataclass(frozen=True)
class Recorded:
    """A run in MLflow."""

    name: str
    run_id: str
    state: str
    when_ms: int


def recorded(home: Path) -> list[Recorded]:
    """Every recorded training run, newest first; of several with one name the newest.

    Raises StorageError where the store cannot be reached, MissingExtra without MLflow.
    """
    connection, found = _search(home)
    with connection.border("list the training runs"):
        newest: dict[str, Recorded] = {}
        for run in sorted(found, key=lambda r: r.info.start_time):
            name = run.data.tags.get(NAME_TAG, "")
            if is_name(name):
                state = run.info.status.lower()
                newest[name] = Recorded(name, run.info.run_id, state, run.info.start_time)
    return sorted(newest.values(), key=lambda r: r.when_ms, reverse=True)


def bring(home: Path, name: str) -> Path:
    """Copy a recorded run to `home`, in place of an older copy. Returns its folder.

    Raises StudyError where there is none of that name, StorageError.
    """
    one = next((r for r in recorded(home) if r.name == name), None)
    if one is None:
        raise StudyError(f"no training run {name!r} is recorded")
    connection, _ = _search(home)
    place = home / COPIES
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".coming-", dir=place) as coming:
            with connection.border(f"read training run {name!r}"):
                _download(connection.client, one.run_id, Path(coming))
            shutil.rmtree(place / name, ignore_errors=True)
            shutil.copytree(coming, place / name, symlinks=True)
    except OSError as exc:
        raise storage_error(place / name, exc) from exc
    return place / name


def _search(home: Path) -> tuple[Any, list[Any]]:
    from teststrip.track import names
    from teststrip.track.connection import Connection
    from teststrip.track.runs import search_all

    connection = Connection(home)
    with connection.border("list the training runs"):
        return connection, search_all(connection, {names.KIND: KIND})


def _download(client: Any, run_id: str, folder: Path) -> None:
    there = {item.path for item in client.list_artifacts(run_id)}
    for part in PARTS:
        if part in there:
            client.download_artifacts(run_id, part, str(folder))
    rows: dict[int, dict[str, float]] = {}
    for key in client.get_run(run_id).data.metrics:
        for point in client.get_metric_history(run_id, key):
            rows.setdefault(point.step, {})[key.replace(":", "@")] = point.value
    lines = (json.dumps({"step": step} | row) for step, row in sorted(rows.items()))
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
