"""The seam of the store: finished pictures and the last records of jobs, by key."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Stored:
    """One object: its key, its size and when it was written (seconds since 1970)."""

    key: str
    size: int
    modified: float


class ArtifactStore(Protocol):
    """Contract: an object is whole or not there; the same put again changes nothing.

    Keys are made by us, never by users, and checked all the same: letters, digits, `/._-`, no
    `..`. All calls raise StorageError where the store cannot be reached or refuses, after bounded
    retries with growing pauses.
    """

    async def open(self) -> None:
        """Check that it can be written to; make the bucket or folder where that is allowed."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...

    async def put(
        self,
        key: str,
        data: bytes,
        content_type: str,
        meta: Mapping[str, str] | None = None,
        *,
        replace: bool = False,
    ) -> bool:
        """Write an object; False where it was there (then it stays, unless `replace`)."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Its bytes, or None where it is not there."""
        ...

    async def size(self, key: str) -> int | None:
        """Bytes, or None where it is not there."""
        ...

    def stream(self, key: str) -> AsyncIterator[bytes]:
        """Its bytes in parts. Raises StorageError also where it is not there."""
        ...

    async def url(self, key: str, ttl_s: float, file_name: str = "") -> str | None:
        """A signed address that clients can read it at; None where it must be proxied."""
        ...

    async def delete(self, prefix: str) -> int:
        """Remove all objects below `prefix`; how many there were."""
        ...

    def below(self, prefix: str) -> AsyncIterator[Stored]:
        """All objects whose key begins so."""
        ...

    async def is_ready(self) -> bool:
        """Can it be written to now? Never raises."""
        ...
