"""One question to an OpenAI-compatible /chat/completions, with bounded patience."""

import email.utils
import json
import logging
import threading
import time
from typing import Any

import httpx

from teststrip.errors import ModelError

MAX_ANSWER_BYTES = 1_000_000
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
REFUSED = {401: "the key", 403: "the key", 404: "the address or the model"}
log = logging.getLogger(__name__)


class Unanswered(Exception):  # noqa: N818 - an outcome for one picture, not an error of the run
    """This question got no usable answer; the next one may."""


class ChatEndpoint:
    """Asks, waits and asks again. Thread-safe. The key is in no message and no log.

    After a network fault or a status that promises better times it waits as `Retry-After` says,
    or 1, 2, 4, .. seconds; a wait longer than `max_wait_s` is not waited for. When one thread is
    told to wait, the others wait too. One answer takes at most `timeout_s`, whatever its pace.
    """

    def __init__(
        self, base_url: str, key: str, *, timeout_s: float, retries: int, max_wait_s: float
    ) -> None:
        self._url = f"{base_url}/chat/completions"
        self._key = key
        self._timeout_s = timeout_s
        self._retries = retries
        self._max_wait_s = max_wait_s
        self._lock = threading.Lock()
        self._not_before = 0.0

    def ask(self, client: httpx.Client, body: dict[str, Any]) -> str:
        """The answer's text.

        Raises Unanswered when this question has no answer, ModelError when none will have one.
        """
        reason = ""
        for attempt in range(self._retries + 1):
            self._pause()
            try:
                status, headers, data = self._post(client, body)
            except httpx.HTTPError as exc:
                wait, reason = self._backoff(attempt), f"{type(exc).__name__}: {exc}"
            else:
                if status == 200:
                    return _text(data)
                reason = f"HTTP {status}: {self._excerpt(data)}"
                if status in REFUSED:
                    raise ModelError(
                        f"{self._url} refused {REFUSED[status]}; check the options ({reason})"
                    )
                if status not in AGAIN:
                    raise Unanswered(reason)
                asked = _retry_after(headers.get("retry-after"))
                wait = self._backoff(attempt) if asked is None else asked
            if attempt == self._retries or wait > self._max_wait_s:
                break
            log.info("%s: again in %.1f s (%s)", self._url, wait, reason)
            with self._lock:
                self._not_before = max(self._not_before, time.monotonic() + wait)
        raise Unanswered(f"no answer after {attempt + 1} tries; last: {reason}")

    def _post(self, client: httpx.Client, body: dict[str, Any]) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and at most MAX_ANSWER_BYTES of the answer."""
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        deadline = time.monotonic() + self._timeout_s
        data = bytearray()
        with client.stream("POST", self._url, json=body, headers=headers) as answer:
            for part in answer.iter_bytes():
                data += part
                if len(data) > MAX_ANSWER_BYTES:
                    raise Unanswered(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
                if time.monotonic() > deadline:
                    raise httpx.ReadTimeout(f"no whole answer within {self._timeout_s:g} s")
            return answer.status_code, answer.headers, bytes(data)

    def _pause(self) -> None:
        with self._lock:
            wait = self._not_before - time.monotonic()
        if wait > 0:
            time.sleep(wait)

    def _backoff(self, attempt: int) -> float:
        return float(min(2**attempt, self._max_wait_s))

    def _excerpt(self, data: bytes) -> str:
        """The start of an error page; servers echo keys, so ours is struck out."""
        text = data.decode("utf-8", "replace")
        if self._key:
            text = text.replace(self._key, "***")
        return repr(text[:300])


def _text(data: bytes) -> str:
    try:
        content = json.loads(data)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as exc:
        raise Unanswered(f"not a chat completion: {data[:200]!r}") from exc
    if not isinstance(content, str):
        raise Unanswered(f"an answer without text: {data[:200]!r}")
    return content


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header: a number or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(email.utils.parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None
