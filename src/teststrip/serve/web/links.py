"""Links to pictures that need no key: signed by us, for a picture of a job, for a time."""

from fastapi import Request

from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.web import views

PURPOSE = "picture"


def signed(request: Request, record: JobRecord, index: int, ttl_s: float) -> str:
    """Whole address of a picture, for whoever holds it, as long as `ttl_s`."""
    signature = request.app.state.signer.sign(PURPOSE, f"{record.id}/{index}", ttl_s)
    host = f"{request.url.scheme}://{request.headers.get('host', '')}"
    return f"{host}{views.job_url(request, record)}/images/{index}.png?signature={signature}"


def is_signed(request: Request, job_id: str, index: int, signature: str) -> bool:
    """Is this signature ours, for this picture, and not over?"""
    right: bool = request.app.state.signer.check(PURPOSE, f"{job_id}/{index}", signature)
    return right
