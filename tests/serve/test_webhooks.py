"""Webhooks against a real receiver: signed, tried again, given up, never led elsewhere."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from teststrip.serve.operate import webhooks
from teststrip.serve.operate.metrics import Metrics
from teststrip.serve.operate.webhooks import LATER, NEW, WebhookSender, note, secret_of
from teststrip.serve.state.sqlite import SqliteState

pytestmark = pytest.mark.anyio
SECRET = b"the service's own secret"


class Receiver:
    """Answers with what `answers` holds, the last one for ever; keeps what it was sent."""

    def __init__(self) -> None:
        self.answers: list[int] = [200]
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.got.append((self.path, headers, body))
                status = outer.answers[0] if len(outer.answers) == 1 else outer.answers.pop(0)
                self.send_response(status)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook?x=1"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    thread = Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield receiver
    receiver.server.shutdown()
    receiver.server.server_close()
    thread.join()


@pytest.fixture
async def state(tmp_path) -> AsyncIterator[SqliteState]:
    state = SqliteState(tmp_path / "state.sqlite")
    await state.open()
    yield state
    await state.close()


@pytest.fixture
def sender(state) -> WebhookSender:
    return WebhookSender(state, SECRET, Metrics(), allow_private=True)


@pytest.fixture
def ended(state, a_job):
    async def make(**fields):
        record = (await state.create(a_job(**fields))).record
        record = await state.move_any(record.key, record.version, "failed", reason="no luck")
        await note(state, record)
        return record

    return make


async def due_now(state: SqliteState, monkeypatch) -> None:
    """Let the clock of the sender be far ahead."""
    ahead = time.time() + 86400
    monkeypatch.setattr(webhooks.time, "time", lambda: ahead)


async def test_the_receiver_is_told_signed_and_once(state, sender, receiver, ended) -> None:
    record = await ended(webhook=receiver.url, owner="ann", labels={"order": "7"})

    assert await sender.send_due() == 1
    assert await sender.send_due() == 0

    [(path, headers, body)] = receiver.got
    assert path == "/hook?x=1"
    assert headers["host"] == receiver.url.split("/")[2]
    key = base64.b64decode(secret_of(SECRET, "ann").removeprefix("whsec_"))
    said = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    right = base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{right}"
    assert abs(int(headers["webhook-timestamp"]) - time.time()) < 600
    told = json.loads(body)
    assert told["type"] == "job.failed"
    assert told["data"]["id"] == record.id
    assert told["data"]["reason"] == "no luck"
    assert told["data"]["labels"] == {"order": "7"}


async def test_each_owner_has_a_secret_of_its_own() -> None:
    assert secret_of(SECRET, "ann") == secret_of(SECRET, "ann")
    assert secret_of(SECRET, "ann") != secret_of(SECRET, "bob")
    assert base64.b64encode(SECRET).decode() not in secret_of(SECRET, "ann")


async def test_a_job_without_a_webhook_is_not_noted(state, ended) -> None:
    await ended()

    assert await state.things(NEW) == {}


async def test_a_receiver_that_fails_is_called_again_later_under_the_same_name(
    state, sender, receiver, ended, monkeypatch
) -> None:
    receiver.answers = [500, 302, 200]
    await ended(webhook=receiver.url)

    assert await sender.send_due() == 0
    assert await state.things(NEW) == {}
    assert list((await state.things(LATER)).values()) == [b"1"]
    assert await sender.send_due() == 0  # not due yet
    assert len(receiver.got) == 1
    await due_now(state, monkeypatch)
    assert await sender.send_due() == 0  # a redirect is no answer, and is not followed
    assert await state.things(LATER) != {}
    monkeypatch.setattr(webhooks, "_due", lambda name: 0.0)
    assert await sender.send_due() == 1

    assert [path for path, _, _ in receiver.got] == ["/hook?x=1"] * 3
    assert len({headers["webhook-id"] for _, headers, _ in receiver.got}) == 1
    assert await state.things(LATER) == {}


async def test_it_is_given_up_after_the_last_pause(
    state, sender, receiver, ended, monkeypatch
) -> None:
    receiver.answers = [503]
    await ended(webhook=receiver.url)
    monkeypatch.setattr(webhooks, "_due", lambda name: 0.0)

    for _ in range(len(webhooks.PAUSES_S) + 1):
        await sender.send_due()

    assert len(receiver.got) == len(webhooks.PAUSES_S) + 1
    assert await state.things(LATER) == {}
    assert await state.things(NEW) == {}


async def test_a_receiver_that_is_gone_for_good_is_not_called_again(
    state, sender, receiver, ended
) -> None:
    receiver.answers = [410]
    await ended(webhook=receiver.url)

    await sender.send_due()

    assert await state.things(LATER) == {}


async def test_nobody_at_the_address_is_tried_again(state, sender, receiver, ended) -> None:
    receiver.server.server_close()
    await ended(webhook=receiver.url)

    assert await sender.send_due() == 0

    assert list((await state.things(LATER)).values()) == [b"1"]


async def test_a_private_address_is_not_called_unless_that_is_allowed(
    state, receiver, ended
) -> None:
    sender = WebhookSender(state, SECRET, Metrics())
    await ended(webhook=receiver.url)

    assert await sender.send_due() == 0

    assert receiver.got == []
    assert await state.things(LATER) == {}  # for good: another time it would be refused again


async def test_a_job_queued_again_meanwhile_is_told_of_when_it_ends(
    state, sender, receiver, ended
) -> None:
    record = await ended(webhook=receiver.url)
    await state.move_any(record.key, record.version, "queued")

    assert await sender.send_due() == 0
    assert receiver.got == []
    queued = await state.get(record.key)
    await state.move_any(record.key, queued.version, "cancelled")
    assert await sender.send_due() == 1
    assert json.loads(receiver.got[0][2])["type"] == "job.cancelled"
