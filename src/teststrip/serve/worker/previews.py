"""The newest preview of each picture, on its way to the state; an old one is never sent late."""

import asyncio
import logging

from teststrip.errors import StorageError
from teststrip.serve.state.base import JobState
from teststrip.serve.worker.events import Name

log = logging.getLogger(__name__)


class Previews:
    """`newest` is called by the board; `run` sends until it is cancelled."""

    def __init__(self, state: JobState) -> None:
        self._state = state
        self._newest: dict[Name, bytes] = {}
        self._bell = asyncio.Event()

    def newest(self, name: Name, data: bytes) -> None:
        """Take this one; it replaces one of the same picture that was not sent yet."""
        self._newest[name] = data
        self._bell.set()

    async def run(self) -> None:
        """Send one after the other. A state that is away costs previews, nothing else."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            while self._newest:
                (key, index), data = self._newest.popitem()
                try:
                    await self._state.preview(key, index, data)
                except StorageError as exc:
                    log.debug("preview not kept: %s", exc)
                    self._newest.clear()
