"""A wish becomes a job: checked, fixed, recorded, queued. The only way in, for every API."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

from pydantic import ValidationError

from teststrip.config import faults_of
from teststrip.errors import ConfigError, StorageError
from teststrip.recipe import Recipe, short_hash
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.operate import tracing
from teststrip.serve.operate.addresses import check_address
from teststrip.serve.parts import Parts
from teststrip.serve.state.base import Created
from teststrip.serve.web import limits
from teststrip.serve.web.callers import Caller
from teststrip.serve.web.catalog import Catalog, Resolved
from teststrip.serve.web.problems import Problem
from teststrip.serve.web.schemas import Wish

log = logging.getLogger(__name__)
MOST_KEY_CHARS = 200
OTHER_TRY_S = 5.0  # one try with an Idempotency-Key waits so long for another one with it


async def accept(  # noqa: PLR0917 - the five things that a job is made from
    parts: Parts,
    catalog: Catalog,
    caller: Caller,
    wish: Wish,
    idempotency_key: str | None = None,
    trace: Mapping[str, str] | None = None,
) -> JobRecord:
    """`take`, for those to whom a repeated wish is as good as a new one."""
    return (await take(parts, catalog, caller, wish, idempotency_key, trace)).record


async def take(  # noqa: PLR0917
    parts: Parts,
    catalog: Catalog,
    caller: Caller,
    wish: Wish,
    idempotency_key: str | None = None,
    trace: Mapping[str, str] | None = None,
) -> Created:
    """The job of this wish, safe in the queue; `is_new` False where the key was used before.

    Raises Problem: 403 scope or priority, 422 a wrong wish or a key used for another one, 429 a
    limit of the caller, 503 the queue is full or away (then nothing is left of the job).
    """
    record = await fixed(parts, catalog, caller, wish, idempotency_key, trace)
    if idempotency_key is not None:
        known = await parts.state.get(record.key)
        if known is not None and _is_safe(known):
            return _same(Created(known, is_new=False), record)
        if known is not None:
            return await queue(parts, record)
    await limits.check(parts, caller, len(record.seeds))
    return await queue(parts, record)


async def fixed(  # noqa: PLR0917
    parts: Parts,
    catalog: Catalog,
    caller: Caller,
    wish: Wish,
    idempotency_key: str | None = None,
    trace: Mapping[str, str] | None = None,
) -> JobRecord:
    """The record of a wish, with its recipe and seeds fixed; nothing is kept yet.

    Raises Problem (403, 422), which lists every fault.
    """
    caller.needs("generate", "people", "study")
    priority = wish.priority or caller.priority
    if priority not in caller.priorities:
        able = ", ".join(caller.priorities)
        raise Problem(403, "forbidden", f"priority {priority!r} is above this key's; it has {able}")
    if idempotency_key is not None and not 1 <= len(idempotency_key) <= MOST_KEY_CHARS:
        raise Problem(422, "wrong-input", f"Idempotency-Key: 1 to {MOST_KEY_CHARS} characters")
    faults: list[str] = []
    prompt = wish.prompt or ""
    if wish.product is not None:
        try:
            prompt = catalog.text(wish.template, wish.product)
        except ConfigError as exc:
            faults.append(str(exc))
    resolved = await _recipe(catalog, wish, faults)
    if resolved is not None:
        faults += await limits.faults_of_recipe(parts, catalog, caller, wish, resolved)
    faults += limits.faults_of_wish(parts.config, wish, prompt)
    if wish.webhook is not None:
        try:  # names are resolved when it is called
            check_address(wish.webhook, parts.config.allow_private_webhooks)
        except ConfigError as exc:
            faults.append(f"webhook: {exc}")
    if faults or resolved is None:
        raise Problem(422, "wrong-input", "this cannot be made", faults=faults)
    name = parts.ids.new(caller.id, idempotency_key)
    return JobRecord(
        id=name.name,
        key=name.key,
        owner=caller.id,
        priority=priority,
        prompt=prompt,
        recipe=resolved.recipe,
        recipe_name=resolved.name,
        champion=resolved.champion,
        seeds=_seeds(wish, name.key),
        webhook=wish.webhook,
        body_hash=body_hash(wish),
        labels=wish.labels,
        trace=dict(trace or {}),
        accepted=name.accepted,
    )


async def queue(parts: Parts, record: JobRecord) -> Created:
    """Record it, then queue it. Raises Problem 422, 503."""
    with tracing.span("accept", record.trace, job=record.key) as context:
        if context:  # what the worker tells belongs below this
            record = record.model_copy(update={"trace": context})
        return await _queue(parts, record)


async def _queue(parts: Parts, record: JobRecord) -> Created:
    created = await parts.state.create(record)
    if not created.is_new:
        known = await _settled(parts, _same(created, record).record)
        if known is None:
            return await _queue(parts, record)  # the other try failed, this is the first now
        if _is_safe(known):
            return Created(known, is_new=False)
        record = known  # it takes too long: twice in the queue is made once
    try:
        await parts.queue.publish(record)
    except StorageError as exc:
        log.warning("the queue refused a job: %s", exc, extra={"job": record.key})
        parts.metrics.refused.labels("queue").inc()
        if created.is_new:
            with contextlib.suppress(StorageError):  # then the sweeper queues it, late
                await parts.state.remove(record.key)
        raise Problem(
            503,
            "queue-refused",
            "the queue takes no jobs now; nothing was accepted, try again",
            retry_s=limits.FULL_RETRY_S,
        ) from exc
    try:
        await parts.state.published(record.key)
    except StorageError as exc:  # it is safe in the queue: to say otherwise would make it twice
        log.warning("not noted as queued, the sweeper will: %s", exc, extra={"job": record.key})
    parts.metrics.accepted.labels(record.priority).inc()
    return created


def _is_safe(record: JobRecord) -> bool:
    """Has the queue confirmed it, or a worker had it?"""
    return record.published or record.state != "queued"


async def _settled(parts: Parts, record: JobRecord) -> JobRecord | None:
    """What became of the job that a try beside this one has yet to queue; None: it failed.

    Whoever is told that a job was accepted must not depend on how that other try ends.
    """
    known: JobRecord | None = record
    end = time.monotonic() + OTHER_TRY_S
    while known is not None and not _is_safe(known) and time.monotonic() < end:
        await asyncio.sleep(0.05)
        known = await parts.state.get(record.key)
    return known


def body_hash(wish: Wish) -> str:
    """24 hex digits of what was asked for; chance plays no part in it."""
    return short_hash(wish.model_dump(mode="json", exclude={"idempotency_key"}), 24)


def _same(created: Created, record: JobRecord) -> Created:
    """Raises Problem 422 where the key was used for another wish."""
    if created.record.body_hash != record.body_hash:
        raise Problem(
            422,
            "key-reused",
            "this Idempotency-Key was used for another request; take a new one for a new request",
        )
    return created


async def _recipe(catalog: Catalog, wish: Wish, faults: list[str]) -> Resolved | None:
    try:
        if isinstance(wish.recipe, Recipe):
            return Resolved("own", wish.recipe)
        found = await catalog.resolve(wish.recipe)
        if not wish.changes:
            return found
        return Resolved(found.name, found.recipe.changed(**wish.changes), found.champion)
    except ValidationError as exc:
        faults += [f"changes.{fault}" for fault in faults_of(exc)]
    except ConfigError as exc:
        faults += exc.faults or [exc.what]
    return None


def _seeds(wish: Wish, key: str) -> tuple[int, ...]:
    """Chance comes from the job's key: a repeated Idempotency-Key asks for the same pictures,
    also after its record was lost.
    """
    if wish.seeds is not None:
        return wish.seeds
    first = wish.seed if wish.seed is not None else int(key[-8:], 16)
    return tuple((first + k) % 2**32 for k in range(wish.n or 1))
