"""What an operator asks of a service: how it is, its dead letters, its keys."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from teststrip.errors import ConfigError, StorageError
from teststrip.lock import FolderLock
from teststrip.wire import service

if TYPE_CHECKING:
    from teststrip.serve.config import ServiceConfig
    from teststrip.serve.parts import Parts
    from teststrip.serve.web.keys import KeyRing

T = TypeVar("T")
PATIENCE_S = 10.0  # for a server that is away
KEYS = "keys.json"


def status(home: Path, config: "ServiceConfig") -> dict[str, Any]:
    """Its parts (ready or why not), jobs that wait by priority, jobs that run, workers."""
    parts = service.parts(home, config, "admin")
    return asyncio.run(_status(parts))


def dead_letters(home: Path, config: "ServiceConfig", limit: int = 100) -> list[dict[str, Any]]:
    """The oldest dead letters: key, why, when, and what became of the job since."""

    async def listed(parts: "Parts") -> list[dict[str, Any]]:
        rows = []
        for letter in await parts.queue.dead_letters(limit):
            record = await parts.state.get(letter.record.key)
            rows.append(
                {
                    "key": letter.record.key,
                    "state": record.state if record else "unknown",
                    "reason": (record.reason if record else None) or letter.reason,
                    "attempts": record.attempt if record else letter.record.attempt,
                    "died": letter.died,
                    "owner": letter.record.owner,
                    "priority": letter.record.priority,
                }
            )
        return rows

    return _with(service.parts(home, config, "admin"), listed)


def requeue(home: Path, config: "ServiceConfig", key: str) -> dict[str, Any]:
    """Queue a failed job once more. Raises ConfigError for one that is not there or not failed.

    Of a service in one process the record is changed alone: the process finds it there (its
    sweeper, or its next start).
    """

    async def again(parts: "Parts") -> dict[str, Any]:
        from teststrip.serve.operate import dead

        is_apart = config.kind == "apart"
        record = await (dead.requeue if is_apart else dead.reset)(parts, key)
        return {"key": record.key, "state": record.state}

    return _with(service.parts(home, config, "admin"), again)


def keys(home: Path, config: "ServiceConfig") -> "tuple[KeyRing, Path, bool]":
    """The ring of keys, its file, and whether the service uses it (TESTSTRIP_SERVICE_KEYS_FILE)."""
    try:
        from teststrip.serve.web.keys import KeyRing
    except ModuleNotFoundError as exc:
        raise service.missing(exc) from exc
    path = config.keys_file or home / service.PLACE / KEYS
    return KeyRing(path), path, config.keys_file is not None


def webhook_secret(home: Path, config: "ServiceConfig", key: str) -> str:
    """What the owner of a key (its id or name; "": this machine's) checks webhooks with.

    Raises ConfigError for a key that is not there, or without the service's secret.
    """
    from teststrip.serve.operate.webhooks import secret_of

    owner = "local"
    if key:
        fitting = [k for k in keys(home, config)[0].list() if key in {k.id, k.name}]
        if len(fitting) != 1:
            raise ConfigError(
                f"{len(fitting)} keys with id or name {key!r}; see: service keys list"
            )
        owner = fitting[0].id
    return secret_of(config.the_secret(home), owner)


def _with(parts: "Parts", work: Callable[["Parts"], Awaitable[T]]) -> T:
    async def run() -> T:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await parts.state.open()
                await parts.queue.open()
        except TimeoutError as exc:
            raise StorageError(
                f"the service's state or queue did not answer in {PATIENCE_S:.0f} s"
            ) from exc
        try:
            return await work(parts)
        finally:
            await parts.queue.close()
            await parts.state.close()

    return asyncio.run(run())


async def _status(parts: "Parts") -> dict[str, Any]:
    is_apart = parts.config.kind == "apart"
    told: dict[str, Any] = {"kind": parts.config.kind}
    every = ("state", "store", "queue")
    faults = dict(
        zip(every, await asyncio.gather(*(_fault(getattr(parts, n)) for n in every)), strict=True)
    )
    ready = {name: fault is None for name, fault in faults.items()}
    if not all(ready.values()):
        told["faults"] = {name: fault for name, fault in faults.items() if fault}
    try:
        if ready["state"]:
            told |= await _jobs(parts)
        if ready["queue"]:
            told["dead"] = await parts.queue.dead_depth()
    finally:
        await parts.close()
    if not is_apart:
        pid = FolderLock(parts.home / service.PLACE, "the service").holder()
        told["running"], told["pid"] = pid is not None, pid
    else:
        told["running"] = bool(told.get("workers"))
    return told | {"ready": ready}


async def _fault(part: Any) -> str | None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            await part.open()
    except (StorageError, TimeoutError) as exc:
        return str(exc) or f"no answer in {PATIENCE_S:.0f} s"
    return None


async def _jobs(parts: "Parts") -> dict[str, Any]:
    waiting = await parts.state.waiting()
    counts = await parts.state.counts()
    return {
        "waiting": {
            priority: sum(1 for job in waiting if job.lane.priority == priority)
            for priority in ("people", "api", "sweep")
        },
        "under_way": counts.get("running", 0),
        "workers": [
            {
                "name": card.name,
                "slots": card.slots,
                "images": card.images,
                "calls_per_s": round(card.calls_per_s, 2),
                "draining": card.draining,
                "models": sorted(card.models),
            }
            for card in await parts.state.workers()
        ],
    }


def check_host(host: str, config: "ServiceConfig") -> None:
    """Raises ConfigError for a public bind without keys; said before anything is opened."""
    from teststrip.serve.web.keys import check_bind

    if config.keys_file is not None and not config.keys_file.exists():
        raise ConfigError(
            f"{config.keys_file}: no such file; make a key first: teststrip service keys add NAME"
        )
    check_bind(host, service.key_ring(config))
