"""Dead letters of the memory queue, in a file of JSON lines that outlives the process."""

import asyncio
import json
import logging
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from teststrip.files import write_atomic
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.queue.base import DeadLetter

KEPT = 1000  # the newest; older ones are in the records and manifests of their jobs
log = logging.getLogger(__name__)


@dataclass
class _Letter:
    record: JobRecord
    reason: str
    died: float
    told: bool = False  # has the job's record been told?


class Letters:
    """Oldest first. Without a path they live as long as the process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._letters: list[_Letter] = []
        self._writing = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._letters)

    async def open(self) -> None:
        """Read the file; a line that cannot be read is left out with a warning."""
        if self._path is None:
            return
        try:
            text = await asyncio.to_thread(self._path.read_text, "utf-8")
        except FileNotFoundError:
            return
        self._letters = [letter for line in text.splitlines() if (letter := self._read(line))]

    async def add(self, record: JobRecord, reason: str) -> None:
        """One more, new. Raises StorageError where the file cannot be written."""
        self._letters.append(_Letter(record, reason, time.time()))
        del self._letters[:-KEPT]
        await self._write()

    async def tell(self, key: str) -> None:
        """The record of this job was told."""
        for letter in self._letters:
            letter.told |= letter.record.key == key
        await self._write()

    async def take_out(self, key: str) -> JobRecord | None:
        """Remove the letters of this job and return its newest record."""
        found = [letter.record for letter in self._letters if letter.record.key == key]
        if not found:
            return None
        self._letters = [letter for letter in self._letters if letter.record.key != key]
        await self._write()
        return found[-1]

    def new(self, but: set[str]) -> DeadLetter | None:
        """The oldest that was not told yet and is not in `but` (keys of jobs)."""
        for letter in self._letters:
            if not letter.told and letter.record.key not in but:
                return DeadLetter(letter.record, letter.reason, letter.died)
        return None

    def oldest(self, limit: int) -> list[DeadLetter]:
        """The first `limit`, told or not."""
        return [DeadLetter(one.record, one.reason, one.died) for one in self._letters[:limit]]

    def _read(self, line: str) -> _Letter | None:
        try:
            fields = json.loads(line)
            fields["record"] = JobRecord.model_validate(fields["record"])
            return _Letter(**fields)
        except (ValueError, TypeError, KeyError) as exc:
            log.warning("%s: a dead letter cannot be read and is left out: %s", self._path, exc)
            return None

    async def _write(self) -> None:
        if self._path is None:
            return
        async with self._writing:  # the last writer has seen all changes before it
            lines = [
                json.dumps(asdict(one) | {"record": one.record.model_dump(mode="json")})
                for one in self._letters
            ]
            data = "".join(f"{line}\n" for line in lines).encode()
            await asyncio.to_thread(write_atomic, self._path, data)
