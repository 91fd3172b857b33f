"""Where a picture lies. Nothing outside a study's own folder is ever opened."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.errors import StorageError, StudyError
from teststrip.files import write_atomic
from teststrip.studio.index.scan import RECORD, REMOTE

if TYPE_CHECKING:
    from teststrip.studio.index import Index

Fetch = Callable[[str, str], bytes]
KEY = re.compile(r"[A-Za-z0-9_-]{1,128}")
MOST_BYTES = 256 * 2**20
KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"RIFF", "image/webp"),
)


class Vanished(StorageError):  # noqa: N818 - it says what happened
    """The table knows the picture, its file is gone."""


class Broken(StorageError):  # noqa: N818 - it says what is wrong
    """The file is no picture that can be shown."""


class Store:
    """Originals under `home`; those of a study that is only in MLflow come through `fetch`."""

    def __init__(self, home: Path, index: "Index", fetch: Fetch | None = None) -> None:
        self._home, self._index, self._fetch = home, index, fetch

    def folder(self, study: str) -> Path:
        """A study's own folder. Raises StudyError where the index has none of that name."""
        name = self._index.entry(study).name
        own = self._home / "studies" / name
        return own if (own / RECORD).exists() else self._home / REMOTE / name

    def is_remote(self, study: str) -> bool:
        """Do its pictures come from the tracking server?"""
        return self.folder(study).parent == self._home / REMOTE

    def is_far(self, study: str, key: str) -> bool:
        """Has the picture yet to come over the net?"""
        return self.is_remote(study) and self._local(study, key) is None

    def find(self, study: str, key: str) -> Path:
        """The original's file, links followed, inside its study's folder.

        Raises StudyError for an unknown study or a key that is none, Vanished where the file is
        gone, StorageError where the tracking server has no answer.
        """
        found = self._local(study, key)
        if found is None and self._fetch is not None and self.is_remote(study):
            data = self._fetch(study, key)
            if kind_of(data[:16]) is None:
                raise Broken(f"picture {key} of study {study}: the tracking server sent no picture")
            write_atomic(self.folder(study) / _usual(key), data)
            found = self._local(study, key)
        if found is None:
            raise Vanished(f"picture {key} of study {study} has vanished from its folder")
        return found

    def _local(self, study: str, key: str) -> Path | None:
        if KEY.fullmatch(key) is None:
            raise StudyError(f"{key[:64]!r} is no image key")
        folder = self.folder(study)
        return _inside(folder, _usual(key)) or _inside(folder, self._said(study, key))

    def _said(self, study: str, key: str) -> str:
        """The path that the table gives; empty where it has none."""
        rows = self._index.query(
            f"SELECT png FROM {self._index.table(study)} WHERE image_key = ? LIMIT 1",  # noqa: S608
            [key],
        )
        return str(rows[0]["png"] or "") if rows else ""


def _usual(key: str) -> str:
    return f"images/{key[:2]}/{key}.png"


def kind_of(start: bytes) -> str | None:
    """The media type by a file's first 16 bytes; None where it is no picture that is shown."""
    found = next((kind for mark, kind in KINDS if start.startswith(mark)), None)
    return None if found == "image/webp" and start[8:12] != b"WEBP" else found


def _inside(folder: Path, path: str) -> Path | None:
    """The file, where it is one and lies in the folder, whatever links lead there."""
    if not path or "\0" in path:
        return None
    try:
        found = (folder / path).resolve(strict=True)
        inside = found.is_relative_to(folder.resolve(strict=True))
    except (OSError, RuntimeError, ValueError):
        return None
    return found if inside and found.is_file() else None
