"""Webhooks: who asked to be told of a job's end is told, signed, again and again for a day.

Headers and signature are those of Standard Webhooks (standardwebhooks.com), so that any of its
libraries checks them. A delivery is noted in the state when the job ends and dropped when the
receiver said 2xx: `webhook:<key>`, then `webhook-later:<when>:<key>` while it is tried again.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import ssl
import time
from datetime import UTC, datetime

from teststrip.errors import ConfigError, StorageError
from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.operate.addresses import Target, resolve
from teststrip.serve.operate.metrics import Metrics
from teststrip.serve.state.base import JobState

NEW, LATER = "webhook:", "webhook-later:"
PAUSES_S = (5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 21600.0, 43200.0)
KEPT_S = 3 * 86400.0
AT_ONCE = 8
AT_A_LOOK = 1000
ANSWER_S = 10.0
GONE = 410  # the receiver's way to say: never again
log = logging.getLogger(__name__)


def secret_of(service_secret: bytes, owner: str) -> str:
    """What an owner checks our signatures with: `whsec_...`, his alone, always the same."""
    key = hmac.new(service_secret, f"webhook\0{owner}".encode(), hashlib.sha256).digest()
    return "whsec_" + base64.b64encode(key).decode()


def signature(secret: str, message_id: str, sent: int, body: bytes) -> str:
    """`v1,<base64>` over id, time and body."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    said = f"{message_id}.{sent}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, said, hashlib.sha256).digest()).decode()


def message(record: JobRecord) -> bytes:
    """What is sent: how the job ended and where its pictures are asked for."""
    ended = datetime.fromtimestamp(record.ended or time.time(), UTC)
    data = {
        "id": record.id,
        "state": record.state,
        "reason": record.reason,
        "recipe_name": record.recipe_name,
        "champion": record.champion.model_dump() if record.champion else None,
        "labels": record.labels,
        "url": f"/api/jobs/{record.id}",
        "images": [
            {
                "index": image.index,
                "seed": image.seed,
                "sha256": image.sha256,
                "bytes": image.bytes,
                "url": f"/api/jobs/{record.id}/images/{image.index}.png",
            }
            for image in record.images
        ],
    }
    return json.dumps(
        {"type": f"job.{record.state}", "timestamp": ended.isoformat(), "data": data}
    ).encode()


async def note(state: JobState, record: JobRecord) -> None:
    """Remember that this job's webhook is to be called when it has ended; twice is once.

    Called before the move that ends it: a crash between then loses nothing.
    """
    if record.webhook is not None:
        await state.put(NEW + record.key, b"0", KEPT_S)


class WebhookSender:
    """Calls what is due. One at a time of these runs (the sweeper that leads)."""

    def __init__(
        self, state: JobState, secret: bytes, metrics: Metrics, *, allow_private: bool = False
    ) -> None:
        self._state, self._secret, self._metrics = state, secret, metrics
        self._allow_private = allow_private
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._tls = ssl.create_default_context()

    async def send_due(self) -> int:
        """Call all that is new or due again; how many were delivered. Raises StorageError."""
        new = await self._state.things(NEW, AT_A_LOOK)
        later = await self._state.things(LATER, AT_A_LOOK)
        now = time.time()
        due = list(new.items()) + [(n, tries) for n, tries in later.items() if _due(n) <= now]
        done = await asyncio.gather(*(self._one(name, tries) for name, tries in due))
        return sum(done)

    async def _one(self, name: str, tries: bytes) -> bool:
        async with self._slots:
            tried = int(tries) if tries.isdigit() else 0
            key = name.rpartition(":")[2]
            record = await self._state.get(key)
            if record is not None and not record.is_ended:
                return False  # noted just before its end, or queued again since: its end will come
            if record is None or record.webhook is None:
                await self._state.drop(name)
                return False
            fault, final = await self._call(record, record.webhook)
            if not fault:
                await self._state.drop(name)
                return True
            final = final or tried >= len(PAUSES_S)
            if not final:
                due = int(time.time() + PAUSES_S[tried])
                again = f"{LATER}{due:012d}:{key}"
                await self._state.put(again, str(tried + 1).encode(), KEPT_S)
            await self._state.drop(name)
            self._metrics.webhook_failures.labels(str(final).lower()).inc()
            log.log(
                logging.WARNING if final else logging.INFO,
                "webhook of job %s, call %d: %s%s",
                key,
                tried + 1,
                fault,
                "; given up" if final else f"; again in {PAUSES_S[tried]:.0f} s",
                extra={"job": key},
            )
            return False

    async def _call(self, record: JobRecord, address: str) -> tuple[str, bool]:
        """What was wrong ("" if nothing), and whether another call would be useless."""
        try:
            target = await resolve(address, self._allow_private)
        except ConfigError as exc:
            return str(exc), True
        except StorageError as exc:
            return str(exc), False
        try:
            async with asyncio.timeout(ANSWER_S):
                status = await self._post(target, record)
        except TimeoutError:
            return f"no answer in {ANSWER_S:.0f} s", False
        except OSError as exc:
            return str(exc), False
        return ("" if 200 <= status < 300 else f"HTTP {status}"), status == GONE

    async def _post(self, target: Target, record: JobRecord) -> int:
        """The status; the answer's body is not read, a redirect not followed.

        Each call has its own connection: two names may share an address, not a certificate.
        """
        import httpx

        body, sent, name = message(record), int(time.time()), f"{record.key}-{record.state}"
        headers = {
            "Host": target.host,
            "Content-Type": "application/json",
            "User-Agent": "teststrip-service",
            "webhook-id": name,
            "webhook-timestamp": str(sent),
            "webhook-signature": signature(secret_of(self._secret, record.owner), name, sent, body),
        }
        try:
            async with (
                httpx.AsyncClient(trust_env=False, timeout=ANSWER_S, verify=self._tls) as client,
                client.stream(
                    "POST",
                    target.url,
                    content=body,
                    headers=headers,
                    extensions={"sni_hostname": target.name},
                ) as answer,
            ):
                return answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise OSError(f"{type(exc).__name__}: {exc}") from exc


def _due(name: str) -> float:
    number = name.removeprefix(LATER).partition(":")[0]
    return float(number) if number.isdigit() else 0.0
