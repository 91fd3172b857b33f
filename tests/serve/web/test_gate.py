"""Before any route: bodies in pieces, clients that vanish, headers on every answer."""

import asyncio
import json

import pytest

from teststrip.guard import CSRF
from teststrip.serve.web import gate

pytestmark = pytest.mark.anyio
BODY = json.dumps({"prompt": "a cat"}).encode()


async def asked(web, messages, **headers):
    """The answer to POST /api/jobs whose body comes as these messages."""
    coming, sent = iter(messages), []

    async def receive():
        message = next(coming)
        if isinstance(message, float):
            await asyncio.sleep(message)
            message = next(coming)
        return message

    async def send(message):
        sent.append(message)

    given = {"host": "127.0.0.1", "content-type": "application/json"} | headers
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/jobs",
        "raw_path": b"/api/jobs",
        "query_string": b"",
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await web.app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"])


def part(body, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_in_pieces_is_read_whole(web):
    pieces = [part(BODY[k : k + 1]) for k in range(len(BODY))] + [part(b"", more=False)]
    status, _ = await asked(web, pieces, **{"transfer-encoding": "chunked"})
    assert status == 202


async def test_a_client_that_vanishes_within_its_body_asked_for_nothing(web):
    pieces = [part(BODY[:5]), {"type": "http.disconnect"}]
    status, _ = await asked(web, pieces, **{"content-length": str(len(BODY))})
    assert status == 400
    assert await web.parts.state.waiting() == []


async def test_a_body_that_dribbles_is_not_waited_for(web, monkeypatch):
    monkeypatch.setattr(gate, "BODY_S", 0.05)
    status, _ = await asked(web, [part(BODY[:5]), 60.0], **{"content-length": str(len(BODY))})
    assert status == 408


async def test_a_length_that_is_a_lie_or_no_number_is_refused(web):
    for length in ("-5", "x", "9" * 30, "1e3", "²"):
        status, _ = await asked(web, [part(BODY, more=False)], **{"content-length": length})
        assert status == 413
    long = [part(b"x" * 40_000), part(b"x" * 40_000, more=False)]
    status, headers = await asked(web, long, **{"content-length": "10"})
    assert status == 413
    assert headers[b"connection"] == b"close"


async def test_every_answer_holds_the_policy(web):
    job = await web.post()
    for path in ("/", "/healthz", "/none", "/api/jobs", job["url"], "/api/jobs/x", "/v1/none"):
        headers = (await web.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path


async def test_the_forms_token_is_set_by_pages_alone(web):
    assert CSRF not in (await web.client.get("/api/jobs")).cookies
    page = await web.client.get("/", headers={"Accept": "text/html"})
    assert len(page.cookies[CSRF]) == 43
    cookie = page.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
