"""Files of runs, up and down, with one request each.

MLflow's client asks for the run before each upload, and before a download it also lists the folder
to see whether the path is one. Who knows the run's artifact address needs neither.
"""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from teststrip.errors import StorageError
from teststrip.track.connection import Connection

AT_ONCE = 4  # uploads; more does not help: the server works on one at a time (measured)


class Artifacts:
    """Of the runs of one store. Calls raise what MLflow raises; `Connection.border` turns it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, address: str, files: Mapping[str, bytes], folder: str | None = None) -> None:
        """Upload files byte for byte to the run whose artifacts are at `address`, in `folder`.

        One that is there is replaced. Several go at once over connections that stay open.
        Raises StorageError for a name that is no plain file name.
        """
        for name in files:
            if PurePosixPath(name).name != name or name in (".", ".."):
                raise StorageError(f"artifact {name!r}: a plain file name is accepted")
        if not files:
            return
        repository = self._repository(address)
        with tempfile.TemporaryDirectory(prefix="teststrip-") as place:

            def send(name: str) -> None:
                path = Path(place) / name
                path.write_bytes(files[name])
                repository.log_artifact(str(path), folder)
                path.unlink()

            if len(files) == 1:
                send(*files)
                return
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="upload") as pool:
                list(pool.map(send, files))

    def get(self, address: str, path: str) -> bytes:
        """A file of the run whose artifacts are at `address`."""
        repository = self._repository(address)
        with tempfile.TemporaryDirectory(prefix="teststrip-") as place:
            file = Path(place) / "file"
            # What every repository has and `download_artifacts` calls once it has listed.
            repository._download_file(path, str(file))
            return file.read_bytes()

    def names(self, address: str, folder: str | None = None) -> dict[str, int | None]:
        """Path -> bytes of the files in the run's `folder`, one level; None: a folder."""
        listed = self._repository(address).list_artifacts(folder)
        return {str(found.path): found.file_size for found in listed}

    def _repository(self, address: str) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        return get_artifact_repository(address, tracking_uri=self._connection.uri)
