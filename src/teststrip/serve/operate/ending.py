"""What is left to do when a job ended without a worker: its manifest, and one more in a number."""

import logging

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.parts import Parts

log = logging.getLogger(__name__)


async def tell_ended(parts: Parts, record: JobRecord) -> None:
    """Keep the last record beside the pictures.

    The manifest may be missing where the store is away: the state still has the record.
    """
    parts.metrics.jobs.labels(record.state).inc()
    try:
        await parts.store.put(
            record.manifest_key,
            record.model_dump_json().encode(),
            "application/json",
            replace=True,
        )
    except StorageError as exc:
        log.warning("job %s: no manifest: %s", record.key, exc, extra={"job": record.key})
