"""A study read back from MLflow: its table of images, its pictures, its files.

So the viewer's index, the report and the contact sheet can be rebuilt from the record alone.
"""

import io
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError
from teststrip.track import names
from teststrip.track.connection import Connection
from teststrip.track.runs import find_run, search_all

if TYPE_CHECKING:
    import pandas as pd


class NoPicture(StorageError):  # noqa: N818 - it says what is so
    """The record answers and has no such picture."""


class StudyRecord:
    """One recorded study. `run_id`: its parent run; `status`: finished, running, budget, ...;
    `began_ms`: when its run began, in milliseconds since 1970."""

    def __init__(self, connection: Connection, run: Any) -> None:
        self._connection = connection
        self._run = run
        self.run_id = str(run.info.run_id)
        self.name = str(run.data.tags[names.STUDY])
        self.began_ms = int(run.info.start_time or 0)
        self.status = str(run.data.tags.get(names.STATUS, "running"))
        self.metrics: dict[str, float] = dict(run.data.metrics)
        self._where: dict[str, tuple[str, str]] | None = None

    def file(self, name: str) -> bytes:
        """A file of the parent run, such as `images.parquet` or `report.html`."""
        return self._download(self.run_id, name)

    def has_file(self, name: str) -> bool:
        """Does the parent run have this file?"""
        with self._connection.border(f"list the files of study {self.name!r}"):
            listed = self._connection.client.list_artifacts(self.run_id)
        return any(found.path == name for found in listed)

    def table(self) -> "pd.DataFrame":
        """The table of images. Raises StorageError where the study has recorded none yet."""
        import pandas as pd

        return pd.read_parquet(io.BytesIO(self.file(names.TABLE)))

    def recipes(self) -> dict[str, Any]:
        """`recipe_id` -> {params, metrics, status} of every recorded recipe."""
        with self._connection.border(f"list the recipes of study {self.name!r}"):
            return {
                run.data.tags[names.RECIPE_ID]: {
                    "params": dict(run.data.params),
                    "metrics": dict(run.data.metrics),
                    "status": run.data.tags.get(names.STATUS, "running"),
                }
                for run in self._children()
            }

    def png(self, path: str) -> bytes:
        """A picture by the table's `png` or by its image key, byte for byte as it was made."""
        key = PurePosixPath(path).stem
        run_id, artifact = self._index().get(key, ("", ""))
        if not run_id:
            raise NoPicture(f"study {self.name!r}: no picture {key!r} in the record")
        return self._download(run_id, artifact)

    def prepare(self) -> None:
        """Ask for the list of pictures now, so that `png` may be called from several threads."""
        self._index()

    def _index(self) -> dict[str, tuple[str, str]]:
        """Image key -> (run, artifact). A picture is called `<anything>-<key>.png`."""
        if self._where is None:
            where = {}
            with self._connection.border(f"list the pictures of study {self.name!r}"):
                for run in self._children():
                    run_id = run.info.run_id
                    for found in self._connection.client.list_artifacts(run_id, names.IMAGES):
                        stem = PurePosixPath(found.path).stem
                        where[stem] = where[stem.rpartition("-")[2]] = (run_id, found.path)
            self._where = where
        return self._where

    def _children(self) -> list[Any]:
        tags = {names.PARENT: self.run_id, names.KIND: "recipe"}
        return search_all(self._connection, tags)

    def _download(self, run_id: str, path: str) -> bytes:
        with (
            self._connection.border(f"read {path!r} of study {self.name!r}"),
            tempfile.TemporaryDirectory(prefix="teststrip-") as place,
        ):
            file = self._connection.client.download_artifacts(run_id, path, place)
            return Path(file).read_bytes()


def studies(home: Path, experiment: str = "teststrip") -> list[StudyRecord]:
    """Every recorded study, newest first."""
    connection = Connection(home, experiment)
    with connection.border("list the studies"):
        runs = search_all(connection, {names.KIND: "study"})
    runs.sort(key=lambda run: run.info.start_time, reverse=True)
    return [StudyRecord(connection, run) for run in runs]


def open_study(home: Path, name: str, experiment: str = "teststrip") -> StudyRecord:
    """The newest record of a study. Raises StorageError where there is none."""
    connection = Connection(home, experiment)
    with connection.border(f"find study {name!r}"):
        found = find_run(connection, {names.KIND: "study", names.STUDY: name})
    if found is None:
        raise StorageError(f"MLflow at {connection.shown}: no study {name!r} is recorded there")
    return StudyRecord(connection, found)
