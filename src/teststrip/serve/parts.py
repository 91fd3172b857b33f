"""Parts: what every process of the service is put together from (`wire.service` does it)."""

from dataclasses import dataclass, field
from pathlib import Path

from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.operate.metrics import Metrics
from teststrip.serve.queue.base import JobQueue
from teststrip.serve.state.base import JobState
from teststrip.serve.store.base import ArtifactStore


@dataclass(frozen=True)
class Parts:
    """The parts that hold no opinion of each other. `open` in this order, `close` in reverse."""

    home: Path
    config: ServiceConfig
    ids: JobIds
    state: JobState
    store: ArtifactStore
    queue: JobQueue
    metrics: Metrics = field(default_factory=Metrics)

    async def open(self) -> None:
        """Connect all three. Raises StorageError naming the one that cannot be reached."""
        await self.state.open()
        await self.store.open()
        await self.queue.open()

    async def close(self) -> None:
        """Let go of all three, the queue first, so that its jobs go to others."""
        await self.queue.close()
        await self.store.close()
        await self.state.close()
