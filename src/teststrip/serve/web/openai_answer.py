"""Answers of the Images API: the whole one, and the events of a stream."""

import asyncio
import base64
import io
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import Request
from PIL import Image as Pillow

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.web.links import signed
from teststrip.serve.web.openai_body import ImagesBody
from teststrip.serve.web.openai_faults import OpenAIFault, as_openai
from teststrip.serve.web.openai_watch import ClientGone
from teststrip.serve.web.problems import Problem

QUIET_S = 15.0  # a stream that is silent for longer is cut by proxies
USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}


async def whole(request: Request, body: ImagesBody, record: JobRecord) -> dict[str, Any]:
    """The answer of a job that is done; `teststrip` and `seed` are ours. Raises OpenAIFault."""
    _check(record)
    parts: Parts = request.app.state.parts
    texts = [made.text for made in record.requests]
    data, size = [], None
    for image in record.images:
        item: dict[str, Any] = {"seed": image.seed}
        if body.response_format == "url":
            ttl_s = parts.config.url_ttl_s
            address = await parts.store.url(image.key, ttl_s)
            item["url"] = address or signed(request, record, image.index, ttl_s)
        else:
            picture, size = await _picture(parts, body, image)
            item["b64_json"] = base64.b64encode(picture).decode()
        if texts[image.index] != record.prompt:
            item["revised_prompt"] = texts[image.index]
        data.append(item)
    return {
        "created": int(record.ended or time.time()),
        "data": data,
        "background": "opaque",
        "output_format": body.format,
        "usage": USAGE,
        "teststrip": {
            "job": record.id,
            "recipe": record.recipe_name,
            "recipe_id": record.recipe.recipe_id,
            "champion": record.champion.model_dump() if record.champion else None,
        },
    } | ({"size": size} if size else {})


async def events(
    request: Request, body: ImagesBody, records: AsyncGenerator[JobRecord]
) -> AsyncIterator[bytes]:
    """Server-sent events: partial images at even distances, then the whole one, or the fault."""
    parts: Parts = request.app.state.parts
    wanted, sent, shown = body.partial_images or 0, 0, b""
    spoke = time.monotonic()
    try:
        async with aclosing(records):
            async for record in records:
                if record.is_ended:
                    _check(record)
                    picture, size = await _picture(parts, body, record.images[0])
                    yield _event("completed", body, picture, size, usage=USAGE)
                    return
                share = record.calls_done / max(record.calls_total, 1)
                if sent < wanted and share >= (sent + 1) / (wanted + 1):
                    preview = await _preview(parts, record)
                    if preview is not None and preview != shown:
                        shown, spoke = preview, time.monotonic()
                        picture, size = await asyncio.to_thread(_converted, preview, body)
                        yield _event("partial_image", body, picture, size, partial_image_index=sent)
                        sent += 1
                if time.monotonic() - spoke > QUIET_S:
                    spoke = time.monotonic()
                    yield b": waiting\n\n"
    except ClientGone:
        return
    except Problem as exc:
        error = as_openai(request, exc).error
        yield f"event: error\ndata: {json.dumps({'type': 'error', 'error': error})}\n\n".encode()


def _check(record: JobRecord) -> None:
    """Raises OpenAIFault unless all pictures are there."""
    if record.state == "done":
        return
    why = record.reason or "no reason was told"
    if record.state == "cancelled":
        raise OpenAIFault(400, "The job was cancelled.", code="job_cancelled", retry=False)
    raise OpenAIFault(
        500,
        f"The image could not be made: {why}",
        kind="server_error",
        code="generation_failed",
        retry=False,  # the service has tried again by itself
    )


async def _preview(parts: Parts, record: JobRecord) -> bytes | None:
    try:
        return await parts.state.preview(record.key, 0)
    except StorageError:  # a preview less
        return None


async def _picture(parts: Parts, body: ImagesBody, image: Image) -> tuple[bytes, str]:
    data = await parts.store.get(image.key)
    if data is None:
        raise OpenAIFault(
            500,
            "The image is no longer in the store.",
            kind="server_error",
            code="gone",
            retry=False,
        )
    return await asyncio.to_thread(_converted, data, body)


def _converted(data: bytes, body: ImagesBody) -> tuple[bytes, str]:
    """The picture in the wished format, and its size as WIDTHxHEIGHT."""
    picture = Pillow.open(io.BytesIO(data))
    size = f"{picture.width}x{picture.height}"
    if picture.format == body.format.upper():
        return data, size
    out = io.BytesIO()
    quality = 100 if body.output_compression is None else body.output_compression
    options = {} if body.format == "png" else {"quality": quality}
    picture.convert("RGB").save(out, body.format.upper(), **options)
    return out.getvalue(), size


def _event(name: str, body: ImagesBody, picture: bytes, size: str, **more: Any) -> bytes:
    kind = f"image_generation.{name}"
    data = {
        "type": kind,
        "b64_json": base64.b64encode(picture).decode(),
        "background": "opaque",
        "created_at": int(time.time()),
        "output_format": body.format,
        "quality": "auto",
        "size": size,
    } | more
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
