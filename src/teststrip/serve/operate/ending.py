"""Last records of jobs in the store: written where a job ended without a worker, and read again."""

import asyncio
import logging

from pydantic import ValidationError

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import JobRecord, manifest_key
from teststrip.serve.parts import Parts
from teststrip.serve.store.base import ArtifactStore

PATIENCE_S = 5.0  # others wait behind it
log = logging.getLogger(__name__)


async def keep_last(store: ArtifactStore, record: JobRecord, *, replace: bool = True) -> None:
    """Write the last record of an ended job beside its pictures. Raises StorageError."""
    manifest = record.model_dump_json().encode()
    await store.put(record.manifest_key, manifest, "application/json", replace=replace)


async def tell_ended(parts: Parts, record: JobRecord) -> None:
    """Keep the last record beside the pictures.

    The manifest may be missing where the store is away: the state still has the record.
    """
    parts.metrics.jobs.labels(record.state).inc()
    try:
        async with asyncio.timeout(PATIENCE_S):
            await keep_last(parts.store, record)
    except (StorageError, TimeoutError) as exc:
        log.warning(
            "job %s: no manifest: %s",
            record.key,
            exc or "the store hangs",
            extra={"job": record.key},
        )


async def last_record(parts: Parts, key: str) -> JobRecord | None:
    """The last record of an ended job from the store; None where there is none.

    Raises StorageError.
    """
    data = await parts.store.get(manifest_key(key))
    if data is None:
        return None
    try:
        return JobRecord.model_validate_json(data)
    except ValidationError:  # of another version of the service: as good as none
        return None
