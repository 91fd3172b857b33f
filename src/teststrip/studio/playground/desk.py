"""The desk: a bounded queue, and one thread that owns the generator (it is not thread-safe)."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from teststrip.errors import ConfigError, StudyError, TeststripError
from teststrip.protocols import Generator
from teststrip.recipe import Request
from teststrip.records import Failure, Progress
from teststrip.studio.playground.form import Wish
from teststrip.studio.playground.history import History
from teststrip.studio.playground.job import Job, new_job

log = logging.getLogger(__name__)
MOST_WAITING = 8
IDLE_S = 600.0  # then the model gives its memory back


class _Stop(Exception):  # noqa: N818 - it ends a job, it is no fault
    """Raised inside the generator's own step: the next model call is not made."""


class Desk:
    """Jobs by id. All methods may be called from any thread and none waits for a picture."""

    def __init__(
        self, open_generator: Callable[[], Generator] | None, home: Path, idle_s: float = IDLE_S
    ) -> None:
        self.history = History(home)
        self._open, self._idle_s = open_generator, idle_s
        self._jobs = {job.id: job for job in self.history.load()}
        self._change = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def is_able(self) -> bool:
        """Is there a generator at all?"""
        return self._open is not None

    def jobs(self) -> list[Job]:
        """All, the newest first."""
        with self._change:
            return list(self._jobs.values())[::-1]

    def job(self, job_id: str) -> Job:
        """Raises StudyError where there is none of that id."""
        found = self._jobs.get(job_id)
        if found is None:
            raise StudyError("the playground has no such job; perhaps it was deleted")
        return found

    def submit(self, wish: Wish) -> Job:
        """Queue it. Raises ConfigError where the queue is full or there is no generator."""
        if self._open is None:
            raise ConfigError("this studio was started without a generator")
        job = new_job(wish.recipe, wish.prompt, wish.seeds)
        with self._change:
            waiting = sum(other.state == "waiting" for other in self._jobs.values())
            if waiting >= MOST_WAITING:
                raise ConfigError(f"{waiting} jobs are waiting; let one finish, or cancel one")
            self.history.save(job)
            self._jobs[job.id] = job
            gone = self.history.too_many(list(self._jobs.values()))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._work, args=(self._open,), name="playground", daemon=True
                )
                self._thread.start()
            self._change.notify_all()
        for old in gone:
            self.delete(old.id)
        return job

    def position(self, job: Job) -> int:
        """How many jobs come before it."""
        ahead = 0
        for other in self.jobs()[::-1]:
            if other.id == job.id:
                return ahead
            ahead += other.is_open
        return ahead

    def cancel(self, job_id: str) -> Job:
        """End a job at its next model call; what is finished stays."""
        job = self.job(job_id)
        with self._change:
            job.is_cancelled = True
            if job.state == "waiting":
                self._close(job, "cancelled")
        return job

    def wait(self, job: Job, timeout_s: float) -> bool:
        """Wait until a job is closed; False where it is not by then. For tests and scripts."""
        with self._change:
            return self._change.wait_for(lambda: not job.is_open, timeout_s)

    def delete(self, job_id: str) -> None:
        """Forget a closed job and its pictures. Raises ConfigError while it is under way."""
        job = self.job(job_id)
        with self._change:
            if job.is_open:
                raise ConfigError("the job is under way; cancel it first")
            self._jobs.pop(job_id, None)
        self.history.forget(job)

    def close(self) -> None:
        """Stop at the next model call and free the model."""
        with self._change:
            self._is_closed = True
            self._change.notify_all()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _work(self, open_generator: Callable[[], Generator]) -> None:
        generator: Generator | None = None
        try:
            while (job := self._next()) is not None:
                try:
                    generator = generator or open_generator()
                    self._run(job, generator)
                except _Stop:
                    self._end(job, "cancelled")
                except TeststripError as exc:
                    self._end(job, "failed", str(exc))
                except Exception:
                    log.exception("playground job %s", job.id)
                    self._end(job, "failed", "an unexpected error; see the studio's log")
        finally:
            if generator is not None:
                generator.close()

    def _next(self) -> Job | None:
        """The oldest waiting job; None when closed, or idle for so long that the thread ends."""
        with self._change:
            while not self._is_closed:
                for job in self._jobs.values():
                    if job.state == "waiting":
                        job.state, job.version = "running", job.version + 1
                        return job
                if not self._change.wait(self._idle_s):
                    break
            self._thread = None
            return None

    def _run(self, job: Job, generator: Generator) -> None:
        wanted = job.requests
        done: dict[Request, int] = {}

        def on_progress(progress: Progress) -> None:
            if job.is_cancelled or self._is_closed:
                raise _Stop
            job.begin()
            done[progress.request] = progress.calls_done
            job.calls_done, job.version = sum(done.values()), job.version + 1

        for outcome in generator.generate(wanted, on_progress):
            if outcome.request not in wanted:
                continue  # of a job cancelled while its picture was being decoded
            if isinstance(outcome, Failure):
                job.failures[outcome.request.block.seed] = outcome.reason
            else:
                job.images.append(self.history.keep(job, outcome))
            job.version += 1
            self.history.save(job)
            if job.is_cancelled or self._is_closed:
                raise _Stop
        self._end(job, "failed" if job.failures and not job.images else "done")

    def _end(self, job: Job, state: str, why: str = "") -> None:
        with self._change:
            self._close(job, state, why)

    def _close(self, job: Job, state: str, why: str = "") -> None:
        job.version += 1
        job.why = why
        job.state = state  # last: who sees it closed sees all of it
        self._change.notify_all()
        try:
            self.history.save(job)
        except TeststripError as exc:
            log.warning("playground job %s: %s", job.id, exc)
