"""A job's name -> its record, or why not: 404 not ours, 410 expired, or being recovered."""

import time

from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.operate.ending import last_record
from teststrip.serve.parts import Parts
from teststrip.serve.web.callers import Caller
from teststrip.serve.web.problems import Problem
from teststrip.serve.web.schemas import Recovering

NOTE = "the record of this job was lost and is being recovered from the queue"


async def find(parts: Parts, caller: Caller | None, name: str) -> JobRecord | Recovering:
    """The job with this name. `caller` None: whoever asks holds a signed link.

    Raises Problem 404 for a name that we never gave or another's job, 410 for an expired one.
    """
    job = parts.ids.read(name)
    if job is None:
        raise _unknown()
    record = await parts.state.get(job.key) or await last_record(parts, job.key)
    if record is None:
        if time.time() > job.accepted + parts.config.result_ttl_s:
            raise _expired()
        return Recovering(id=job.name, note=NOTE, url=f"/api/jobs/{job.name}")
    if caller is not None and record.owner != caller.id and not caller.may("admin"):
        raise _unknown()
    if record.state == "expired" or (record.expires is not None and record.expires < time.time()):
        raise _expired()
    return record


async def find_record(parts: Parts, caller: Caller | None, name: str) -> JobRecord:
    """`find`, where only a record will do. Raises Problem 503 for one being recovered."""
    found = await find(parts, caller, name)
    if isinstance(found, Recovering):
        raise Problem(503, "recovering", NOTE, retry_s=5)
    return found


def _unknown() -> Problem:
    return Problem(404, "no-such-job", "there is no such job, or it is another key's")


def _expired() -> Problem:
    return Problem(410, "expired", "this job expired; its pictures were deleted")
