"""Expiry: pictures are kept for `result_ttl_s`, then the address answers 410."""

import time

from teststrip.serve.parts import Parts

AT_ONCE = 1000
ROOT = "jobs"


async def sweep_expired(parts: Parts) -> int:
    """Remove the pictures of jobs whose time is over, then mark them. Raises StorageError.

    In this order: a crash between leaves a job that is swept again.
    """
    count = 0
    for record in await parts.state.expired():
        await parts.store.delete(f"{ROOT}/{record.key}")
        if await parts.state.move_any(record.key, record.version, "expired") is not None:
            count += 1
    return count


async def sweep_orphans(parts: Parts) -> int:
    """Remove objects whose record is gone and whose last write is older than `result_ttl_s`.

    Both ages by the store's dates and our clock. Raises StorageError.
    """
    oldest_kept = time.time() - parts.config.result_ttl_s
    old: list[str] = []
    key, newest = "", 0.0
    async for stored in parts.store.below(ROOT):  # a job's objects follow each other
        if (at := stored.key.split("/")[1]) != key:
            if key and newest < oldest_kept:
                old.append(key)
            key, newest = at, 0.0
        newest = max(newest, stored.modified)
    if key and newest < oldest_kept:
        old.append(key)
    count = 0
    for key in old:
        if count < AT_ONCE and await parts.state.get(key) is None:
            count += bool(await parts.store.delete(f"{ROOT}/{key}"))
    return count
