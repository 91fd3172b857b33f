"""A study read back from MLflow: its table of images, its pictures, its files.

So the viewer's index, the report and the contact sheet can be rebuilt from the record alone.
"""

import io
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from teststrip.errors import StorageError
from teststrip.track import names, packs
from teststrip.track.artifacts import Artifacts
from teststrip.track.connection import Connection
from teststrip.track.held import recorded_pictures
from teststrip.track.runs import find_run, search_all

if TYPE_CHECKING:
    import pandas as pd

KEPT_BYTES = 64 * 2**20  # of pages that were read


class NoPicture(StorageError):  # noqa: N818 - it says what is so
    """The record answers and has no such picture."""


@dataclass(frozen=True)
class _Picture:
    """Where a picture is: in a run's page of pictures, or by itself where `page` is empty."""

    recipe_id: str
    address: str
    name: str
    page: str


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
        self._address = str(run.info.artifact_uri)
        self._artifacts = Artifacts(connection)
        self._where: dict[str, _Picture] | None = None
        self._pages: OrderedDict[str, dict[str, bytes]] = OrderedDict()
        self._busy: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def file(self, name: str) -> bytes:
        """A file of the parent run, such as `images.parquet` or `report.html`."""
        return self._download(self._address, name)

    def files(self) -> set[str]:
        """Names of the parent run's files, as they are now."""
        with self._connection.border(f"list the files of study {self.name!r}"):
            return set(self._artifacts.names(self._address))

    def has_file(self, name: str) -> bool:
        """Does the parent run have this file?"""
        return name in self.files()

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

    def pictures(self) -> dict[str, str]:
        """Name (`003-<image key>.png`) -> recipe id of every picture in the record."""
        return {p.name: p.recipe_id for p in set(self._index().values())}

    def png(self, path: str) -> bytes:
        """A picture by the table's `png` or by its image key, byte for byte as it was made.

        Pages of pictures that were read last are kept, up to KEPT_BYTES: a picture's neighbours
        are wanted next.
        """
        key = PurePosixPath(path).stem
        picture = self._index().get(key)
        if picture is None:
            raise NoPicture(f"study {self.name!r}: no picture {key!r} in the record")
        if not picture.page:
            return self._download(picture.address, f"{names.IMAGES}/{picture.name}")
        found = self._page(picture.address, picture.page).get(picture.name)
        if found is None:
            raise NoPicture(f"study {self.name!r}: no picture {key!r} in its page")
        return found

    def prepare(self) -> None:
        """Ask for the list of pictures now, so that `png` may be called from several threads."""
        self._index()

    def _index(self) -> dict[str, _Picture]:
        """By image key. A picture is called `<anything>-<key>.png`."""
        if self._where is None:
            where = {}
            with self._connection.border(f"list the pictures of study {self.name!r}"):
                for run in self._children():
                    for picture in self._pictures_of(run):
                        stem = PurePosixPath(picture.name).stem
                        where[stem] = where[stem.rpartition("-")[2]] = picture
            self._where = where
        return self._where

    def _pictures_of(self, run: Any) -> list[_Picture]:
        tags, address = run.data.tags, str(run.info.artifact_uri)
        recipe_id = str(tags.get(names.RECIPE_ID, ""))
        if names.PICTURES in tags:
            recorded = list(recorded_pictures(tags))
        else:  # recorded by an earlier version: one file each, no tags
            listed = self._artifacts.names(address, names.IMAGES)
            recorded = [(PurePosixPath(path).name, "") for path in listed]
        return [_Picture(recipe_id, address, name, page) for name, page in recorded]

    def _page(self, address: str, page: str) -> dict[str, bytes]:
        path = f"{names.IMAGES}/{packs.page_name(page)}"
        with self._lock:
            busy = self._busy.setdefault(path, threading.Lock())
        with busy:  # one reads the page, the others wait for it
            with self._lock:
                kept = self._pages.get(path)
            if kept is None:
                kept = packs.unpack(self._download(address, path))
            with self._lock:
                self._pages[path] = kept
                self._pages.move_to_end(path)
                self._drop_old_pages()
        return kept

    def _drop_old_pages(self) -> None:
        size = sum(len(data) for page in self._pages.values() for data in page.values())
        while size > KEPT_BYTES and self._pages:
            path, page = self._pages.popitem(last=False)
            self._busy.pop(path, None)
            size -= sum(map(len, page.values()))

    def _children(self) -> list[Any]:
        tags = {names.PARENT: self.run_id, names.KIND: "recipe"}
        return search_all(self._connection, tags)

    def _download(self, address: str, path: str) -> bytes:
        with self._connection.border(f"read {path!r} of study {self.name!r}"):
            return self._artifacts.get(address, path)


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
