"""/images and /thumbs: kept by browsers for good, since an image key names its content."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from teststrip.errors import StorageError
from teststrip.studio import pages
from teststrip.studio.pictures.pictures import Pictures, tag
from teststrip.studio.pictures.store import MOST_BYTES, Broken, Vanished, kind_of

router = APIRouter()
FOR_GOOD = "private, max-age=31536000, immutable"
CHUNK = 2**16
LONGEST_FETCH_S = 20.0
PLACEHOLDER = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 96 96" width="96" height="96">'
    '<rect width="96" height="96" fill="#e9e5dc"/><path d="M0 96L96 0" stroke="#b9b2a3"/>'
    '<text x="48" y="45" font-family="sans-serif" font-size="11" text-anchor="middle" '
    'fill="#3b372f">{0}</text><text x="48" y="60" font-family="sans-serif" font-size="11" '
    'text-anchor="middle" fill="#3b372f">{1}</text></svg>'
)


@router.get("/thumbs/{size}/{study}/{key}.webp")
async def thumb(request: Request, size: int, study: str, key: str) -> Response:
    """A thumbnail; made in threads of its own where it is not there yet."""
    pictures = pages.parts(request).pictures
    try:
        found = await _thumb(pictures, study, key, size)
    except StorageError as exc:
        return _placeholder(exc)
    data, etag = found
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers={"ETag": etag, "Cache-Control": FOR_GOOD})
    return Response(data, 200, {"ETag": etag, "Cache-Control": FOR_GOOD}, "image/webp")


async def _thumb(pictures: Pictures, study: str, key: str, size: int) -> tuple[bytes, str]:
    remote = await run_in_threadpool(pictures.store.is_far, study, key)
    found = None if remote else await run_in_threadpool(pictures.ready, study, key, size)
    if found is not None:
        return found
    pool = pictures.fetchers if remote else pictures.makers
    making = asyncio.wrap_future(pool.submit(pictures.make, study, key, (size,)))
    try:
        await asyncio.wait_for(making, LONGEST_FETCH_S if remote else None)
    except TimeoutError as exc:
        raise StorageError("the tracking server is slow; the picture is still on its way") from exc
    again = await run_in_threadpool(pictures.ready, study, key, size)
    return again if again is not None else (making.result()[size], tag(f"{study}-{key}", size))


@router.get("/images/{study}/{key}.png")
async def image(request: Request, study: str, key: str) -> Response:
    """The original, byte for byte, in pieces."""
    pictures = pages.parts(request).pictures
    try:
        path = await _original(pictures, study, key)
        return await run_in_threadpool(_send, path, request.headers.get("if-none-match", ""))
    except StorageError as exc:
        return _placeholder(exc)


async def _original(pictures: Pictures, study: str, key: str) -> Path:
    if not await run_in_threadpool(pictures.store.is_far, study, key):
        return await run_in_threadpool(pictures.store.find, study, key)
    asked = asyncio.wrap_future(pictures.fetchers.submit(pictures.store.find, study, key))
    try:
        return await asyncio.wait_for(asked, LONGEST_FETCH_S)
    except TimeoutError as exc:
        raise StorageError("the tracking server is slow; try again in a while") from exc


def _send(path: Path, known: str) -> Response:
    try:
        with path.open("rb") as file:
            kept = os.fstat(file.fileno())
            kind = kind_of(file.read(16))
    except FileNotFoundError as exc:
        raise Vanished(f"{path.name} has vanished") from exc
    except OSError as exc:
        raise StorageError(f"{path.name}: cannot be read") from exc
    etag = f'"{kept.st_mtime_ns:x}-{kept.st_size:x}"'
    if kind is None or kept.st_size > MOST_BYTES:
        raise Broken(f"{path.name} is no picture that can be shown")
    headers = {"ETag": etag, "Cache-Control": FOR_GOOD}
    if etag in known:
        return Response(status_code=304, headers=headers)
    headers["Content-Length"] = str(kept.st_size)
    return StreamingResponse(_pieces(path), 200, headers, kind)


def _pieces(path: Path) -> Iterator[bytes]:
    """Opened at the first piece: a browser that goes away before leaves no open file behind."""
    with path.open("rb") as file:
        while piece := file.read(CHUNK):
            yield piece


def _placeholder(exc: StorageError) -> Response:
    """A picture in the picture's place that says what is wrong; not kept by the browser."""
    status, words = 503, ("store does", "not answer")
    if isinstance(exc, Vanished):
        status, words = 404, ("image", "vanished")
    elif isinstance(exc, Broken):
        status, words = 422, ("image", "is broken")
    headers = {"Cache-Control": "no-store", "X-Picture": " ".join(words)}
    return Response(PLACEHOLDER.format(*words), status, headers, "image/svg+xml")
