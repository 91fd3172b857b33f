"""Optuna's journal in a folder that is locked already, and a sampler that gives a known point."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages.journal import JournalFileBackend, JournalStorage

from teststrip.files import storage_error


class GivenPoint(optuna.samplers.BaseSampler):
    """Gives one known point: parameter name -> value as Optuna stores it."""

    def __init__(self, point: Mapping[str, Any]) -> None:
        self._point = point

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """Nothing is drawn together."""
        return {}

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
        """Nothing is drawn together."""
        return {}

    def sample_independent(self, study: Any, trial: Any, param_name: str, _: Any) -> Any:
        """The known value."""
        return self._point[param_name]


class _Held:
    """No lock of Optuna's own: the folder is locked already, and this leaves no file."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None


@contextmanager
def storing(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into a StorageError that names the journal."""
    try:
        yield
    except OSError as exc:
        raise storage_error(path, exc) from exc


def journal_storage(path: Path) -> JournalStorage:
    """The storage in `path`, a torn last line cut off first (it would spoil the next one)."""
    if path.exists():
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole != len(data):
            os.truncate(path, whole)
    return JournalStorage(JournalFileBackend(str(path), lock_obj=_Held()))
