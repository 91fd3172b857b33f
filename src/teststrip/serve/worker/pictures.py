"""Finished pictures into the store; those of an earlier attempt are found there again."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any

from teststrip import png
from teststrip.errors import ConfigError
from teststrip.recipe import Request
from teststrip.records import Generation
from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.operate import tracing
from teststrip.serve.operate.metrics import Metrics
from teststrip.serve.store.base import ArtifactStore
from teststrip.serve.worker.faults import patiently

MOST_AT_ONCE = 4  # each takes a thread, and the state wants some too
FACTS = ("fingerprint", "dtype", "device", "hardware", "deterministic", "adapters")


class Pictures:
    """Puts and finds the pictures of one worker's jobs. Holds each while the store is away."""

    def __init__(self, store: ArtifactStore, metrics: Metrics, patience_s: float) -> None:
        self._store = store
        self._metrics = metrics
        self._patience_s = patience_s
        self._gate = asyncio.Semaphore(MOST_AT_ONCE)
        self.held = 0  # finished, not yet in the store

    async def put(
        self, record: JobRecord, index: int, made: Generation, goes_on: Callable[[], bool]
    ) -> Image:
        """Store one picture under its key and tell where. The same one twice is one object.

        Raises StorageError when the store stays away, or as soon as `goes_on` says no.
        """
        facts = _facts(made) | {"seconds": round(made.seconds, 4)}
        image = _image(record, index, made.request, made.png, facts)
        self.held += 1
        began = time.time()
        try:
            return await patiently(
                lambda: self._put_once(record, index, made, image),
                self._patience_s,
                goes_on,
            )
        finally:
            self.held -= 1
            now = time.time()
            self._metrics.upload_seconds.observe(now - began)
            tracing.told("store", record.trace, began, now, image=index)

    async def _put_once(
        self, record: JobRecord, index: int, made: Generation, image: Image
    ) -> Image:
        async with self._gate:
            is_new = await self._store.put(image.key, made.png, "image/png", _meta(record, image))
            if is_new:
                return image
            # Another attempt was quicker. Its picture stays if it is one of this wish.
            found = await self._store.get(image.key)
            if found is not None and (kept := _kept(record, index, made.request, found)):
                return kept
            await self._store.put(
                image.key, made.png, "image/png", _meta(record, image), replace=True
            )
            return image

    async def found(self, record: JobRecord, index: int, request: Request) -> Image | None:
        """The picture that an earlier attempt left in the store, if it is this request's."""
        async with self._gate:
            data = await self._store.get(record.image_key(index))
        return None if data is None else _kept(record, index, request, data)


def _kept(record: JobRecord, index: int, request: Request, data: bytes) -> Image | None:
    """Raises nothing: what is no picture of this request is made again."""
    try:
        inside = png.read(data)
    except ConfigError:
        return None
    same = _without_paths(inside.request) == _without_paths(request)
    if not same:
        return None
    facts = {k: inside.facts[k] for k in FACTS if k in inside.facts}
    size = {"width": inside.width, "height": inside.height, "image_key": inside.image_key}
    return _image(record, index, request, data, facts | size)


def _without_paths(request: Request) -> Request:
    """Workers have the same adapter in different folders; its content is in the fingerprint."""
    loras = [lora.model_copy(update={"path": "-"}) for lora in request.recipe.loras]
    recipe = request.recipe.model_copy(update={"loras": tuple(loras)})
    return request.model_copy(update={"recipe": recipe})


def _image(
    record: JobRecord, index: int, request: Request, data: bytes, facts: dict[str, Any]
) -> Image:
    return Image(
        index=index,
        seed=request.block.seed,
        key=record.image_key(index),
        sha256=hashlib.sha256(data).hexdigest(),
        bytes=len(data),
        facts=facts,
    )


def _facts(made: Generation) -> dict[str, Any]:
    inside = png.read(made.png)
    return {k: made.facts[k] for k in FACTS if k in made.facts} | {
        "image_key": made.image_key,
        "model_calls": made.model_calls,
        "width": inside.width,
        "height": inside.height,
    }


def _meta(record: JobRecord, image: Image) -> dict[str, str]:
    """What the object says of itself: ASCII, for it travels in headers."""
    meta = {
        "job": record.key,
        "seed": str(image.seed),
        "sha256": image.sha256,
        "recipe-id": record.recipe.recipe_id,
        "image-key": str(image.facts["image_key"]),
        "fingerprint": str(image.facts.get("fingerprint", "")),
    }
    if record.champion is not None:
        meta["champion"] = f"{record.champion.name}@{record.champion.version}"
    return {k: v.encode("ascii", "replace").decode() for k, v in meta.items()}
