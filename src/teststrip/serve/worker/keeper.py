"""What a worker tells while it works: leases, progress, its card; and what it is told: cancels."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection

from teststrip.errors import StorageError
from teststrip.serve.parts import Parts
from teststrip.serve.state.base import WorkerCard
from teststrip.serve.worker.faults import Stop
from teststrip.serve.worker.job import Job

log = logging.getLogger(__name__)
TICK_S = 0.25  # how late a cancel may be seen
PROGRESS_S = 0.5  # how often progress is told
CARD_S, CARD_TTL_S = 2.0, 10.0


class Keeper:
    """Two loops beside the work; a state that is away delays them and stops no job."""

    def __init__(
        self, parts: Parts, jobs: Callable[[], Collection[Job]], card: Callable[[], WorkerCard]
    ) -> None:
        self._parts = parts
        self._jobs = jobs
        self._card = card
        self._is_away = False

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._tell_jobs())
            both.create_task(self._tell_card())

    async def _tell_jobs(self) -> None:
        while True:
            jobs = list(self._jobs())
            if jobs:
                told = await asyncio.gather(
                    self._look_for_cancels(jobs),
                    *(self._beat(job) for job in jobs),
                    return_exceptions=True,
                )
                for fault in told:  # whatever it is: leases are kept while this loop runs
                    if isinstance(fault, Exception):
                        log.error("a job was not told of", exc_info=fault)
            await asyncio.sleep(TICK_S)

    async def _look_for_cancels(self, jobs: list[Job]) -> None:
        try:
            asked = await self._parts.state.cancelled_now([job.key for job in jobs])
        except StorageError as exc:
            self._note(exc)
            return
        self._note(None)
        for job in jobs:
            if job.key in asked and job.stopped is None:
                job.stop(Stop("cancelled"))

    async def _beat(self, job: Job) -> None:
        since = time.monotonic() - job.told
        has_news = since >= PROGRESS_S and job.calls_done != job.told_calls
        if not has_news and since < self._parts.config.lease_s / 4:
            return
        try:
            await job.beat()
        except StorageError as exc:
            self._note(exc)

    async def _tell_card(self) -> None:
        while True:
            try:
                await self._parts.state.tell(self._card(), CARD_TTL_S)
            except StorageError as exc:
                self._note(exc)
            await asyncio.sleep(CARD_S)

    def _note(self, exc: StorageError | None) -> None:
        """One line when the state goes, one when it comes back."""
        if exc is not None and not self._is_away:
            log.warning("state away, working on: %s", exc)
        elif exc is None and self._is_away:
            log.warning("state is back")
        self._is_away = exc is not None
