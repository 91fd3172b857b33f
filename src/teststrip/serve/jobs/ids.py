"""Names of jobs: who holds one was given it by us, and when.

`<32 hex: uuid><8 hex: when it was accepted, seconds><16 hex: HMAC-SHA256 of both>`. A forged name
is told without asking any store; an old one is known to be expired after its record is gone; and
a true one without a record is a job whose record was lost and which the queue still holds.
"""

import hashlib
import hmac
import re
import secrets
import time
import uuid
from dataclasses import dataclass

NAME = re.compile(r"[0-9a-f]{56}")
NAMESPACE = uuid.UUID("6e3c1c52-4f0e-5f6b-9a51-4d1f5e1f3b0a")
SKEW_S = 300  # clocks of two machines may differ by this much


@dataclass(frozen=True)
class JobId:
    """A name that was checked. `key` is what queue, state and store know the job by."""

    name: str
    key: str
    accepted: float

    def __str__(self) -> str:
        return self.name


class JobIds:
    """Makes and checks names with the secret that all web processes of a service share."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def new(self, owner: str = "", idempotency_key: str | None = None) -> JobId:
        """A fresh name, or for an idempotency key of this owner always the same `key`."""
        key = (
            _uuid7().hex
            if idempotency_key is None
            else uuid.uuid5(NAMESPACE, f"{owner}\0{idempotency_key}").hex
        )
        return self.named(key, time.time())

    def named(self, key: str, accepted: float) -> JobId:
        """The name of the job with this key that was accepted then."""
        body = f"{key}{int(accepted):08x}"
        return JobId(f"{body}{self._mac(body)}", key, float(int(accepted)))

    def read(self, name: str) -> JobId | None:
        """The id behind a name; None for one that we never gave."""
        if not NAME.fullmatch(name):
            return None
        body, mac = name[:40], name[40:]
        if not hmac.compare_digest(self._mac(body), mac):
            return None
        accepted = float(int(body[32:], 16))
        return JobId(name, body[:32], accepted) if accepted < time.time() + SKEW_S else None

    def _mac(self, body: str) -> str:
        return hmac.new(self._secret, body.encode(), hashlib.sha256).hexdigest()[:16]


def _uuid7() -> uuid.UUID:
    """RFC 9562, version 7: 48 bits of milliseconds, then chance."""
    number = (time.time_ns() // 1_000_000 & (2**48 - 1)) << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62)
