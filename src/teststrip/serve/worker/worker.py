"""Worker: takes jobs while it has room, makes them side by side, acknowledges each last."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, GenerationError, StorageError
from teststrip.recipe import Recipe
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.operate import tracing
from teststrip.serve.operate.ending import keep_last, last_record
from teststrip.serve.parts import Parts
from teststrip.serve.queue.base import Delivery
from teststrip.serve.state.base import WorkerCard
from teststrip.serve.worker.board import Board
from teststrip.serve.worker.faults import Stop, patiently
from teststrip.serve.worker.job import Job, indexes_left, is_suspect
from teststrip.serve.worker.keeper import Keeper
from teststrip.serve.worker.pictures import Pictures
from teststrip.serve.worker.previews import Previews
from teststrip.serve.worker.stepper import OpenStepper, Stepper

if TYPE_CHECKING:
    from teststrip.serve.champion import ChampionWatch

log = logging.getLogger(__name__)
LOOK_S = 0.25
AHEAD = 4  # one picture more under way for so many places
PULL_S = 1.0  # a pull waits so long; then it is looked whether to stop
RESTORED = 10_000  # a record that was lost comes back with a version that leaps (state.rules)
KEEP_S = 1.0  # the next job waits behind it
LOOK_AGAIN_S = 5.0  # a job that another worker holds is asked for again at most so late


class Worker:
    """One per engine. `parts` are open; who made them closes them after `run`.

    `open_stepper`: a factory `(model, **options) -> Stepper`, or one by model name.
    """

    def __init__(
        self,
        parts: Parts,
        open_stepper: OpenStepper | Mapping[str, OpenStepper],
        name: str,
        champions: "ChampionWatch | None" = None,
    ) -> None:
        self.name = name
        self.ready = asyncio.Event()  # the first model is open and jobs are taken
        self._parts = parts
        self._open_stepper = (
            _by_name(open_stepper) if isinstance(open_stepper, Mapping) else (open_stepper)
        )
        self._champions = champions
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[str]] = set()
        self._freed = asyncio.Event()
        self._draining = False
        self._board: Board
        self._pictures: Pictures

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set or no job came for `idle_exit_s`; then finish what flies.

        Raises what opening the first model raises, GenerationError where the engine ended.
        """
        config, metrics = self._parts.config, self._parts.metrics
        previews = Previews(self._parts.state)
        self._pictures = Pictures(self._parts.store, metrics, config.patience_s)
        self._board = board = Board(
            self._open_stepper,
            metrics,
            keep=config.open_models,
            preview_every_s=config.preview_every_s,
            on_preview=previews.newest,
        )
        keeper = Keeper(self._parts, self._jobs.values, self.card)
        beside: list[asyncio.Task[None]] = []
        try:
            for model in config.models[: config.open_models]:
                await board.open(model)
            beside = [asyncio.create_task(previews.run()), asyncio.create_task(keeper.run())]
            log.info("worker ready", extra={"worker": self.name})
            self.ready.set()
            await self._take_jobs(stop)
            self._draining = True
            await self._drain(config.drain_s)
            if board.ended.is_set():
                raise GenerationError(
                    "the engine failed again and again and has ended; its jobs were given back; "
                    "start the worker anew"
                )
        finally:
            self.ready.clear()
            await _stopped([*beside, *self._tasks])
            await board.close()

    def card(self) -> WorkerCard:
        """What it tells of itself every two seconds."""
        jobs = list(self._jobs.values())
        crowned = self._champions.current() if self._champions is not None else None
        if crowned is not None:
            champion = crowned.champion
            self._parts.metrics.champion.labels(champion.name).set(int(champion.version))
        return WorkerCard(
            name=self.name,
            slots=self.slots,
            images=indexes_left(jobs),
            calls_left=sum(job.record.calls_total - job.calls_done for job in jobs),
            calls_per_s=self._board.calls_per_s,
            draining=self._draining,
            models=dict(self._board.models),
            numbers={"held": float(self._pictures.held)},
            told=time.time(),
        )

    @property
    def slots(self) -> int:
        """Pictures under way at once, as set or as the engine has rows for."""
        return self._parts.config.slots or self._board.slots

    # -- taking -----------------------------------------------------------------------------------

    async def _take_jobs(self, stop: asyncio.Event) -> None:
        idle_since = time.monotonic()
        while not stop.is_set() and not self._board.ended.is_set():
            if self._tasks:
                idle_since = time.monotonic()
            if not self._has_room():
                await self._until_freed()
                continue
            try:
                delivery = await self._parts.queue.pull(PULL_S)
            except StorageError as exc:
                log.warning("no jobs to be had: %s", exc)
                idle_since = time.monotonic()  # there may be jobs; nobody can tell
                await _pause(PULL_S, stop)
                continue
            if delivery is None:
                if self._is_idle_too_long(idle_since):
                    return
                continue
            idle_since = time.monotonic()
            try:
                job = await self._claimed(delivery, stop)
            except StorageError as exc:
                log.warning("job not taken up: %s", exc, extra={"job": delivery.record.key})
                with contextlib.suppress(StorageError):
                    await delivery.release()
                await _pause(PULL_S, stop)
                continue
            if job is not None:
                await self._begin(job, delivery, stop)

    def _is_idle_too_long(self, since: float) -> bool:
        limit, idle = self._parts.config.idle_exit_s, time.monotonic() - since
        if limit == 0 or self._tasks or idle < limit:
            return False
        log.info("no job for %.0f s: this worker ends", idle)
        return True

    def _has_room(self) -> bool:
        """Rows free, and not too many pictures waiting for the store.

        A few more than fit, so that no row is empty while the next job is claimed. A picture
        without guidance takes half of the place, where places are the engine's rows.
        """
        jobs, slots = list(self._jobs.values()), self.slots
        self._parts.metrics.inflight.set(indexes_left(jobs))
        are_rows = self._parts.config.slots == 0
        taken = sum(
            job.left / (1 if job.record.recipe.guided or not are_rows else 2) for job in jobs
        )
        ahead = slots // AHEAD if are_rows else 0
        return taken < slots + ahead and self._pictures.held < 2 * slots

    async def _claimed(self, delivery: Delivery, stop: asyncio.Event) -> Job | None:
        """The job with its lease, or None where it is nobody's any more, or another's.

        Raises StorageError when the state stays away.
        """
        state, config, record = self._parts.state, self._parts.config, delivery.record
        if delivery.redelivered:
            self._parts.metrics.redelivered.inc()
        if record.key in self._jobs:  # a second message of what is being made here
            await delivery.back(record, LOOK_AGAIN_S)
            return None
        claimed = await patiently(
            lambda: state.claim(record, self.name, config.lease_s),
            config.patience_s,
            lambda: not stop.is_set(),
        )
        if claimed is not None and await self._was_over(claimed, record):
            await delivery.ack()
            return None
        if claimed is not None:
            return Job(self._parts, self._board, self._pictures, delivery, claimed, self._freed.set)
        found = await state.get(record.key)
        if found is None and record.is_ended:  # it came back for its last record to be kept
            found = record
        if found is None:  # lost just now: the next claim restores it
            await delivery.back(record, LOOK_S)
            return None
        if found.is_ended:
            await self._acknowledge(delivery, found)
            return None
        # A lease that lives. Whoever holds it may have vanished: ask again when it has run out.
        wait = min(max(found.lease_until - time.time(), 0.2), LOOK_AGAIN_S)
        await delivery.back(found, wait)
        return None

    async def _was_over(self, claimed: JobRecord, message: JobRecord) -> bool:
        """Had it ended before the state lost its record? Then its last one, in the store, holds.

        One that failed may have been queued anew by an operator: it is made.
        """
        if claimed.version - message.version < RESTORED:
            return False
        with contextlib.suppress(StorageError):
            last = await last_record(self._parts, claimed.key)
            if last is not None and last.state in ("done", "cancelled"):
                images = last.images
                await self._parts.state.move(
                    claimed.key, claimed.fence, last.state, images=images, reason=last.reason
                )
                return True
        return False

    async def _acknowledge(self, delivery: Delivery, found: JobRecord) -> None:
        """One that ended without a worker has its last record in the store before it is let go.

        Else nothing would tell how it ended, should the state lose it.
        """
        if found.state != "expired":
            try:
                async with asyncio.timeout(KEEP_S):
                    await keep_last(self._parts.store, found, replace=False)
            except (StorageError, TimeoutError):
                await delivery.back(found, LOOK_AGAIN_S)
                return
        await delivery.ack()

    async def _begin(self, job: Job, delivery: Delivery, stop: asyncio.Event) -> None:
        record, metrics = job.record, self._parts.metrics
        if record.attempt == 1:
            metrics.queue_wait.labels(record.priority).observe(
                max(time.time() - record.accepted, 0.0)
            )
            tracing.told("wait", record.trace, record.accepted, time.time())
        log.info("job taken up", extra={"job": job.key, "attempt": record.attempt})
        self._jobs[job.key] = job  # from here on its lease is kept
        is_suspect_now = is_suspect(record, redelivered=delivery.redelivered)
        if record.attempt > self._parts.config.max_attempts:
            times = record.attempt - 1
            self._start(job, job.fail(f"the worker died {times} times while making it"))
            return
        if not is_suspect_now:
            self._start(job, job.run(self._recipe_here))
            return
        # It may be what ended its last worker: nobody else is on board while it is tried again.
        log.warning("job is made alone", extra={"job": job.key, "attempt": record.attempt})
        others = set(self._tasks)
        while others and not stop.is_set():
            await self._until_freed()
            others &= self._tasks
        if others:
            job.stop(Stop("drained"))
        task = self._start(job, job.run(self._recipe_here))
        while not task.done() and not stop.is_set():
            await self._until_freed()

    def _start(self, job: Job, life: Coroutine[Any, Any, str]) -> "asyncio.Task[str]":
        task = asyncio.create_task(life, name=f"job {job.key}")
        self._tasks.add(task)

        def ended(_: "asyncio.Task[str]") -> None:
            self._tasks.discard(task)
            del self._jobs[job.key]
            self._freed.set()

        task.add_done_callback(ended)
        return task

    async def _until_freed(self) -> None:
        """Until a picture or job is done, or a moment has passed."""
        self._freed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._freed.wait(), LOOK_S)

    def _recipe_here(self, record: JobRecord) -> Recipe:
        """The record's recipe with adapter files of this machine. Raises StorageError."""
        if self._champions is None or record.champion is None:
            return record.recipe
        return self._champions.recipe_here(record.recipe, record.champion)

    # -- going ------------------------------------------------------------------------------------

    async def _drain(self, drain_s: float) -> None:
        if self._tasks and not self._board.ended.is_set():
            log.info("draining: %d jobs have %.0f s", len(self._tasks), drain_s)
            await asyncio.wait(self._tasks, timeout=drain_s)
        for job in list(self._jobs.values()):
            job.stop(Stop("drained"))
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=max(drain_s, 5.0))


def _by_name(factories: Mapping[str, OpenStepper]) -> OpenStepper:
    def open_stepper(model: str, **options: Any) -> Stepper:
        if model not in factories:
            raise ConfigError(f"no engine for model {model!r}; there is: {', '.join(factories)}")
        return factories[model](model, **options)

    return open_stepper


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def _stopped(tasks: list["asyncio.Task[None] | asyncio.Task[str]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
