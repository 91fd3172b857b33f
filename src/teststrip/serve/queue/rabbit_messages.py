"""Jobs as messages of RabbitMQ, and what the broker notes on them."""

import time
import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.queue.base import DeadLetter

KIND = "teststrip.job"


def message_of(body: bytes, headers: Mapping[str, Any] | None = None) -> Message:
    """A message that outlives the broker."""
    return Message(
        body,
        headers=dict(headers or {}),
        content_type="application/json",
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=uuid.uuid4().hex,  # never one twice: confirms are told apart by it
        type=KIND,
    )


def job_message(record: JobRecord) -> Message:
    """A job on its way to a lane."""
    return message_of(record.model_dump_json().encode())


def dead_message(body: bytes, reason: str, died: float | None = None) -> Message:
    """A dead letter, with why and when (seconds since 1970)."""
    died = time.time() if died is None else died
    return message_of(body, {"reason": reason, "died": str(died)})


def record_in(message: AbstractIncomingMessage) -> JobRecord:
    """The job in a message. Raises ValueError for anything else."""
    return JobRecord.model_validate_json(message.body)


def deliveries_before(message: AbstractIncomingMessage) -> int:
    """How often this message was given to somebody who vanished with it."""
    count = message.headers.get("x-delivery-count")
    return count if isinstance(count, int) else int(bool(message.redelivered))


def letter_in(message: AbstractIncomingMessage) -> DeadLetter:
    """The dead letter in a message: a worker's, or one that the broker made. ValueError else."""
    reason, died = message.headers.get("reason"), message.headers.get("died")
    if not isinstance(reason, str):
        reason, when = _by_broker(message)
        died = str(when)
    return DeadLetter(record_in(message), reason, float(str(died)))


def _by_broker(message: AbstractIncomingMessage) -> tuple[str, float]:
    deaths = message.headers.get("x-death")
    death = deaths[0] if isinstance(deaths, list) and deaths else {}
    if not isinstance(death, dict):
        death = {}
    when = death.get("time")
    cause = str(death.get("reason", "unknown"))
    reason = (
        "its workers died while making it, as often as is allowed: it may be what ends them"
        if cause == "delivery_limit"
        else f"the broker gave it up: {cause}"
    )
    return reason, when.timestamp() if isinstance(when, datetime) else time.time()
