"""Index: the images of all studies in DuckDB. (Signatures; its owner fills them.)"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teststrip.studio.index.entry import Entry


class Index:
    """Thread-safe: each query has a cursor of its own."""

    def __init__(self, path: Path | None = None) -> None:
        """`path`: a DuckDB file that this process alone writes; None: in memory."""
        self.path = path

    def entries(self) -> list[Entry]:
        """All studies, the newest first."""
        raise NotImplementedError

    def entry(self, name: str) -> Entry:
        """Raises StudyError where there is none of that name."""
        raise NotImplementedError

    def table(self, name: str) -> str:
        """The quoted SQL name of a study's images. Raises StudyError."""
        raise NotImplementedError

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """Rows of a SELECT as dicts; values only through `?`."""
        raise NotImplementedError
