"""One REST interface. The token goes to its own address alone and stands in no message.

Redirects are never followed: an answer could send the token to another server. An answer that says
"later" (429, and GitHub's 403 of its limits) or 5xx is asked again, after the time that it names.
"""

import email.utils
import json
import logging
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from teststrip.errors import ConfigError, MissingExtra, StorageError
from teststrip.guard import is_loopback
from teststrip.project.forge.patience import Patience

try:
    import httpx
except ModuleNotFoundError as exc:
    raise MissingExtra("posting a report", "pipeline") from exc

log = logging.getLogger(__name__)
BROKEN = frozenset({500, 502, 503, 504})
PER_PAGE, MOST_PAGES = 100, 100
MAX_ANSWER_BYTES = 50_000_000
SECONDARY_S = 60.0  # GitHub: "wait for at least one minute" where it names no time


class Refused(StorageError):  # noqa: N818 - says what happened
    """The server answered, but not with what was asked for. `status`: HTTP's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(StorageError):  # noqa: N818 - says what happened
    """No answer came, or one that does not say whether it was done. It may have been done."""


@dataclass(frozen=True)
class Answer:
    """`data`: the JSON; None where there is none."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    data: Any = None


class Client:
    """A REST interface at `address` (without a slash at its end). For one thread."""

    def __init__(
        self,
        address: str,
        headers: Mapping[str, str],
        secret: str,
        *,
        patience: Patience,
        certificates: Path | None = None,
    ) -> None:
        self.address, self._secret, self._patience = address, secret, patience
        is_here = is_loopback(urlsplit(address).hostname or "")
        self._http = httpx.Client(
            headers={"User-Agent": "teststrip", **headers},
            timeout=patience.timeout_s,
            follow_redirects=False,
            trust_env=not is_here,  # a proxy of the environment does not reach this machine
            verify=_trusted(certificates),
        )

    def close(self) -> None:
        """Let the connection go."""
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str | int] | None = None,
        data: Any = None,
        file: tuple[str, bytes] | None = None,
        is_repeatable: bool = True,
    ) -> Answer:
        """The answer with status 2xx. `data`: sent as JSON; `file`: name and bytes, as a form.

        `is_repeatable` False: it is not sent again where it may have been done already. Raises
        Refused, Unreachable.
        """
        url = path if path.startswith(("https:", "http:")) else self.address + path
        more: dict[str, Any] = {"params": query} if query else {}
        more |= {"json": data} if data is not None else {}
        more |= {"files": {"file": file}} if file else {}
        wait, reason = 0.0, ""
        for attempt in range(self._patience.tries):
            if wait:
                log.info("%s: again in %.1f s (%s)", self.address, wait, reason)
                time.sleep(wait)
            try:
                answer, text = self._send(method, url, more)
            except httpx.HTTPError as exc:
                reason = self._plain(f"{type(exc).__name__}: {exc}")
                if not is_repeatable and not isinstance(exc, httpx.ConnectError):
                    raise Unreachable(f"{self.address}: no answer ({reason})") from exc
                wait = self._patience.before(attempt)
                continue
            if 200 <= answer.status < 300:
                return answer
            reason = f"HTTP {answer.status}: {text}"
            later = _later(answer, text)
            if later is None and answer.status in BROKEN:
                if not is_repeatable:
                    raise Unreachable(f"{self.address}: {reason}")
                later = -1.0
            if later is None:
                raise Refused(f"{self.address}: {reason}", answer.status)
            wait = self._patience.before(attempt) if later < 0 else later
            if wait > self._patience.longest_s:
                raise Refused(f"{self.address}: asks to wait {wait:.0f} s; {reason}", answer.status)
        raise Unreachable(f"{self.address}: no answer after {self._patience.tries} tries; {reason}")

    def pages(self, path: str, query: Mapping[str, str | int] | None = None) -> Iterator[Any]:
        """Every entry of a list that comes in pages. Raises Refused, Unreachable."""
        for page in range(1, MOST_PAGES + 1):
            answer = self.ask(
                "GET", path, query={**(query or {}), "per_page": PER_PAGE, "page": page}
            )
            yield from answer.data or ()
            # GitLab says it by a header of its own, GitHub in Link; the address is not followed
            is_more = answer.headers.get("x-next-page") or 'rel="next"' in answer.headers.get(
                "link", ""
            )
            if not is_more:
                return

    def _send(self, method: str, url: str, more: dict[str, Any]) -> tuple[Answer, str]:
        """The answer, and the start of its text for a message."""
        body = bytearray()
        with self._http.stream(method, url, **more) as came:
            until = time.monotonic() + self._patience.timeout_s
            for part in came.iter_bytes():
                body += part
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the answer does not end")
                if len(body) > MAX_ANSWER_BYTES:
                    raise httpx.ReadError(f"an answer of more than {MAX_ANSWER_BYTES:,} bytes")
            headers = {name.lower(): value for name, value in came.headers.items()}
            status = came.status_code
        try:
            data = json.loads(body) if body else None
        except ValueError:
            data = None
            if 200 <= status < 300:
                raise httpx.ReadError("the answer is no JSON") from None
        text = body.decode("utf-8", "replace")
        if 300 <= status < 400:
            text = "a redirect, which is not followed; has the project moved?"
        return Answer(status, headers, data), self._plain(text)

    def _plain(self, text: str) -> str:
        """On one line, short, and without our token: error pages echo what they got."""
        return " ".join(text.replace(self._secret, "***").split())[:300]


def _trusted(certificates: Path | None) -> ssl.SSLContext:
    """The usual authorities, and those of `certificates`."""
    context = httpx.create_ssl_context()
    if certificates is not None:
        try:
            context.load_verify_locations(certificates)
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(f"{certificates}: no file of certificates: {exc}") from exc
    return context


def _later(answer: Answer, text: str) -> float | None:
    """Seconds until it may be asked again; -1: no time is named; None: it was no such answer."""
    if answer.status not in (403, 429, 503):
        return None
    named = _retry_after(answer.headers.get("retry-after"))
    if named is not None:
        return named
    reset = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset.isdecimal():
        return max(float(reset) - time.time(), 0.0) + 1
    if answer.status == 403:
        return SECONDARY_S if "secondary rate limit" in text else None
    return -1.0


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
