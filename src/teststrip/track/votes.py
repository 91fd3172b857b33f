"""Files of a study's run that grow after it ended, such as people's votes."""

import tempfile
from pathlib import Path

from teststrip.track import names
from teststrip.track.connection import Connection
from teststrip.track.runs import find_run


class NotRecorded(LookupError):  # noqa: N818 - it says what is so
    """The store can be reached and has no such study."""


class StudyFiles:
    """Reads and writes files of studies' parent runs; one thread at a time.

    All calls raise StorageError where the store cannot be reached or refuses.
    """

    def __init__(self, home: Path, experiment: str = "teststrip") -> None:
        self._connection = Connection(home, experiment)
        self._runs: dict[str, str] = {}

    def read(self, study: str, name: str) -> bytes | None:
        """A file of the run; None where it has none of that name. Raises NotRecorded."""
        run_id = self._run(study)
        with (
            self._connection.border(f"read {name!r} of study {study!r}"),
            tempfile.TemporaryDirectory(prefix="teststrip-") as place,
        ):
            client = self._connection.client
            if all(found.path != name for found in client.list_artifacts(run_id)):
                return None
            return Path(client.download_artifacts(run_id, name, place)).read_bytes()

    def write(self, study: str, name: str, data: bytes) -> None:
        """Put a file in place of the one that the run has. Raises NotRecorded."""
        run_id = self._run(study)
        with (
            self._connection.border(f"record {name!r} of study {study!r}"),
            tempfile.TemporaryDirectory(prefix="teststrip-") as place,
        ):
            (Path(place) / name).write_bytes(data)
            self._connection.client.log_artifact(run_id, str(Path(place) / name))

    def _run(self, study: str) -> str:
        if study not in self._runs:
            with self._connection.border(f"find study {study!r}"):
                wanted = {names.KIND: "study", names.STUDY: study}
                found = find_run(self._connection, wanted)
            if found is None:
                raise NotRecorded(study)
            self._runs[study] = str(found.info.run_id)
        return self._runs[study]
