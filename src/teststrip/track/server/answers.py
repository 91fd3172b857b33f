"""Short answers of our own layers, and what they read of a request."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope, Send


async def answer(
    send: "Send", status: int, text: str | bytes, headers: Mapping[str, str] | None = None
) -> None:
    """A whole answer in plain text, unless `headers` name another type."""
    body = text.encode() if isinstance(text, str) else text
    all_headers = {
        "content-type": "text/plain; charset=utf-8",
        "content-length": str(len(body)),
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    } | dict(headers or {})
    pairs = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in all_headers.items()
    ]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def header(scope: "Scope", name: bytes) -> bytes:
    """The first header of this (lower-case) name; b"" where there is none."""
    found: bytes = next((v for k, v in scope["headers"] if k == name), b"")
    return found
