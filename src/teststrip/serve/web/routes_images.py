"""/api/jobs/{id}/images and previews: pictures, from the store or by a signed address of it."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse

from teststrip.errors import StorageError
from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.web.callers import Caller, caller
from teststrip.serve.web.finding import find_record
from teststrip.serve.web.links import is_signed
from teststrip.serve.web.problems import Problem, told
from teststrip.serve.web.routes_jobs import Who, parts_of

router = APIRouter(tags=["pictures"])
Index = Annotated[int, Path(ge=0, lt=1000)]


@router.get(
    "/api/jobs/{job_id}/images/{index}.png",
    response_class=Response,
    responses={
        200: {"content": {"image/png": {}}, "description": "The PNG, its settings in its text"},
        302: {"description": "It is at this signed address of the store"},
        304: {"description": "Unchanged"},
        **told(401, 404, 410, 422, 503),
    },
)
async def get_image(
    request: Request,
    job_id: str,
    index: Index,
    signature: Annotated[str | None, Query(max_length=100, description="in place of a key")] = None,
    download: Annotated[bool, Query(description="as a file to keep")] = False,
) -> Response:
    """One finished picture."""
    who: Caller | None = None
    if signature is None or not is_signed(request, job_id, index, signature):
        who = await caller(request, None)
    record = await find_record(parts_of(request), who, job_id)
    image = _image(record, index)
    name = f"{record.key[:12]}-{index}.png"
    headers = {
        "ETag": f'"{image.sha256}"',
        "Cache-Control": f"private, max-age={int(parts_of(request).config.url_ttl_s)}",
    }
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    store = parts_of(request).store
    if not download and not _is_shown_by_page(request):  # the store saves by its own names
        address = await store.url(image.key, parts_of(request).config.url_ttl_s)
        if address is not None:
            return RedirectResponse(address, 302, {"Cache-Control": "no-store"})
    if download:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    headers["Content-Length"] = str(image.bytes)
    content = await _content(request, image)
    return StreamingResponse(content, headers=headers, media_type="image/png")


@router.get(
    "/api/jobs/{job_id}/previews/{index}.webp",
    response_class=Response,
    responses={
        200: {"content": {"image/webp": {}}, "description": "How the picture looks at this step"},
        **told(401, 404, 410, 422, 503),
    },
)
async def get_preview(request: Request, job_id: str, index: Index, who: Who) -> Response:
    """The newest preview of a picture under way."""
    record = await find_record(parts_of(request), who, job_id)
    data = await parts_of(request).state.preview(record.key, index)
    if data is None:
        raise Problem(404, "no-preview", "there is no preview of this picture now", retry_s=1)
    return Response(data, headers={"Cache-Control": "no-store"}, media_type="image/webp")


def _image(record: JobRecord, index: int) -> Image:
    for image in record.images:
        if image.index == index:
            return image
    if index >= len(record.seeds):
        raise Problem(404, "no-such-picture", f"this job has {len(record.seeds)} pictures, from 0")
    if record.is_ended:
        raise Problem(404, "no-such-picture", f"this job is {record.state}: it was not made")
    raise Problem(404, "not-finished", "this picture is not finished yet", retry_s=2)


def _is_shown_by_page(request: Request) -> bool:
    """A page may show pictures of its own site only, so they come through us."""
    headers = request.headers
    by_cookie = "authorization" not in headers and "cookie" in headers
    return headers.get("sec-fetch-dest") == "image" or by_cookie


async def _content(request: Request, image: Image) -> AsyncIterator[bytes]:
    """The object's bytes; whether it is there is known before the answer begins."""
    store = parts_of(request).store
    stream = store.stream(image.key)
    try:
        first = await anext(stream)
    except StopAsyncIteration:
        first = b""
    except StorageError:
        if await store.size(image.key) is None:
            raise Problem(410, "gone", "this picture is no longer in the store") from None
        raise

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for part in stream:
            yield part

    return whole()
