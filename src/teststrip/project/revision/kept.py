"""Files that DVC keeps, at a revision: from its cache, else from the remote.

The remote is asked for what is needed, file by file; nothing is checked out. What comes is what
DVC recorded, by its MD5, or nothing. After the first refusal of a store it is asked no more, since
every further picture would wait for the same time limit.
"""

import hashlib
from pathlib import Path
from typing import Any

from teststrip.errors import MissingExtra, StorageError

MOST_BYTES = 64_000_000


class Kept:
    """What DVC keeps of the project at `root`. `commit` empty: as the folder's dvc.lock has it."""

    def __init__(self, root: Path, commit: str) -> None:
        self._root = root
        self._commit = commit
        self._files: Any = None
        self._refused = ""

    def read(self, path: str) -> bytes:
        """A file's bytes. Raises StorageError that says why there are none."""
        if self._refused:
            raise StorageError(f"{path}: {self._refused}")
        try:
            files = self._open()
        except ImportError as exc:
            self._refused = str(MissingExtra("DVC", "pipeline"))
            raise StorageError(f"{path}: {self._refused}") from exc
        except Exception as exc:  # a project without DVC, a damaged dvc.yaml: DVC's own errors
            self._refused = f"DVC cannot be asked: {_words(exc)}"
            raise StorageError(f"{path}: {self._refused}") from exc
        try:
            entry = files.info(path)["entry"]
            with files.open(path, "rb") as file:
                found = bytes(file.read(MOST_BYTES))
        except Exception as exc:  # what a store's own client raises (botocore's are no OSError)
            if isinstance(_root(exc), FileNotFoundError | IsADirectoryError | KeyError):
                lost = "neither in DVC's cache nor on its remote; was it pushed? dvc push"
                raise StorageError(f"{path}: {lost}") from exc
            self._refused = f"DVC's remote does not give it: {_words(exc)}; see project doctor"
            raise StorageError(f"{path}: {self._refused}") from exc
        recorded = entry.hash_info.value if entry and entry.hash_info else None
        if hashlib.md5(found, usedforsecurity=False).hexdigest() != recorded:
            raise StorageError(f"{path}: what is there is not what DVC recorded")
        return found

    def _open(self) -> Any:
        """DVC's records alone: never a file that only happens to lie in the folder."""
        if self._files is None:
            from dvc.fs.data import DataFileSystem  # type: ignore[import-untyped]
            from dvc.repo import Repo  # type: ignore[import-untyped]

            repo = Repo.open(str(self._root), rev=self._commit or None)
            self._files = DataFileSystem(index=repo.index.data["repo"])
        return self._files


def _root(exc: BaseException) -> BaseException:
    """What it comes from: DVC says of a folder's list only that it failed to load."""
    while type(exc).__name__ == "DataIndexDirError" and exc.__cause__ is not None:
        exc = exc.__cause__
    return exc


def _words(exc: BaseException) -> str:
    exc = _root(exc)
    first = (str(exc).strip() or type(exc).__name__).splitlines()[0]
    return first[:200]
