"""What the playground made, on disk: a folder a job, bounded in number and bytes.

playground/<job>/job.json     what was asked, what came of it
playground/<job>/<key>.png    pictures with their settings inside
"""

import json
import logging
import re
import shutil
from pathlib import Path

from teststrip.errors import StorageError, StudyError
from teststrip.files import storage_error, write_atomic
from teststrip.records import Generation
from teststrip.studio.playground.job import Job, Made

log = logging.getLogger(__name__)
PLACE = "playground"
MOST_JOBS = 200
MOST_BYTES = 2**30
ID = re.compile(r"\d{8}-\d{6}-\d{6}-[0-9a-f]{6}")
KEY = re.compile(r"[0-9a-f]{24}")


class History:
    """One process writes; names are checked before they are paths."""

    def __init__(self, home: Path, *, most_jobs: int = MOST_JOBS, most_bytes: int = MOST_BYTES):
        self.folder = home / PLACE
        self._most_jobs, self._most_bytes = most_jobs, most_bytes

    def load(self) -> list[Job]:
        """All jobs, the oldest first; damaged ones are left out."""
        found = []
        for path in sorted(self.folder.glob("*/job.json")):
            if not ID.fullmatch(path.parent.name):
                continue
            try:
                job = Job.from_dict(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, KeyError, TypeError) as exc:
                log.warning("%s: is left out: %s", path, exc)
                continue
            if job.id == path.parent.name:
                found.append(job)
        return found[-self._most_jobs :]

    def save(self, job: Job) -> None:
        """Write what is known of a job. Raises StorageError."""
        data = json.dumps(job.as_dict(), indent=1, ensure_ascii=False).encode()
        write_atomic(self._job(job.id) / "job.json", data)

    def keep(self, job: Job, generation: Generation) -> Made:
        """Write a picture. Raises StorageError."""
        write_atomic(self._job(job.id) / f"{generation.image_key}.png", generation.png)
        return Made(
            key=generation.image_key,
            seed=generation.request.block.seed,
            seconds=round(generation.seconds, 3),
            size=len(generation.png),
        )

    def picture(self, job: Job, key: str) -> bytes:
        """A picture's bytes. Raises StudyError for a key that is none of the job's."""
        if not KEY.fullmatch(key) or job.image(key) is None:
            raise StudyError("the playground has no such picture; perhaps it was deleted")
        path = self._job(job.id) / f"{key}.png"
        try:
            return path.read_bytes()
        except FileNotFoundError as exc:
            raise StudyError(f"picture {key} has vanished from the disk") from exc
        except OSError as exc:
            raise StorageError(f"{path.name}: cannot be read: {exc.strerror or exc}") from exc

    def forget(self, job: Job) -> None:
        """Delete a job with its pictures. Raises StorageError."""
        try:
            shutil.rmtree(self._job(job.id))
        except FileNotFoundError:
            pass
        except OSError as exc:
            raise storage_error(self._job(job.id), exc) from exc

    def too_many(self, jobs: list[Job]) -> list[Job]:
        """The oldest closed jobs (of `jobs`, the oldest first) that go beyond the bounds."""
        count, size = len(jobs), sum(made.size for job in jobs for made in job.images)
        gone = []
        for job in jobs[:-1]:
            if count <= self._most_jobs and size <= self._most_bytes:
                break
            if not job.is_open:
                gone.append(job)
                count -= 1
                size -= sum(made.size for made in job.images)
        return gone

    def _job(self, job_id: str) -> Path:
        if not ID.fullmatch(job_id):
            raise StudyError("the playground has no such job; perhaps it was deleted")
        return self.folder / job_id
