"""ServiceClient: the service's HTTP API as its fleet needs it, with patience where it is away."""

import contextlib
import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from teststrip.errors import ConfigError, GenerationError

ANSWER_S = 30.0
LONGEST_PAUSE_S = 60.0
MOST_BYTES = 2**27  # of one picture
PAGE = 200


class Later(Exception):  # noqa: N818 - no error: the service takes no more just now
    """Full, or over a limit; ask again after `pause_s`."""

    def __init__(self, pause_s: float, why: str) -> None:
        super().__init__(why)
        self.pause_s = pause_s


class Wrong(ConfigError):  # noqa: N818
    """The service says that the request is wrong; `faults` has its words."""


class ServiceClient:
    """One service. Thread-safe. `patience_s`: how long it may be away before a call gives up."""

    def __init__(
        self, url: str, api_key: SecretStr | None = None, *, patience_s: float = 300
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ConfigError(
                f"url {url[:80]!r}: accepted: http://HOST:PORT or https://HOST, without user or key"
            )
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        headers = {"User-Agent": "teststrip-fleet"}
        if api_key is not None and api_key.get_secret_value():
            headers["Authorization"] = f"Bearer {api_key.get_secret_value()}"
        self._http = httpx.Client(headers=headers, timeout=ANSWER_S)

    def close(self) -> None:
        """Let go of the connections; twice is harmless."""
        self._http.close()

    def fingerprint(self, model: str) -> tuple[str | None, str | None]:
        """A model's fingerprint and dtype, as a worker told them; None where none did yet.

        Raises ConfigError for a model that the service does not have.
        """
        models = self._ask("GET", "/api/models").json()["models"]
        for known in models:
            if known["name"] == model:
                return known.get("fingerprint"), known.get("dtype")
        accepted = ", ".join(known["name"] for known in models)
        raise ConfigError(f"{self.url} does not serve model {model!r}; accepted: {accepted}")

    def submit(self, wishes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A batch; one entry for each wish: {id, state, is_new} or {problem}.

        Raises Wrong where wishes are wrong (then none was accepted), Later where it is full.
        """
        answer = self._ask("POST", "/api/batches", may_be_full=True, json={"jobs": list(wishes)})
        entries: list[dict[str, Any]] = answer.json()["jobs"]
        return entries

    def recent(self, pages: int) -> Iterator[list[dict[str, Any]]]:
        """The key's jobs, newest first, in pages of `PAGE`."""
        cursor = ""
        for _ in range(pages):
            answer = self._ask("GET", "/api/jobs", params={"limit": PAGE, "cursor": cursor}).json()
            yield answer["jobs"]
            cursor = answer["next"] or ""
            if not cursor:
                return

    def job(self, name: str) -> dict[str, Any] | None:
        """One job; None where it expired or nobody knows it."""
        answer = self._ask("GET", f"/api/jobs/{name}", fine=(404, 410))
        found: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
        return found

    def picture(self, image: Mapping[str, Any]) -> bytes | None:
        """A finished picture's bytes, as they were stored; None where it is gone.

        A signed address of another server is followed without our key.
        """
        if int(image["bytes"]) > MOST_BYTES:
            raise GenerationError(f"{self.url}: a picture of {image['bytes']} bytes: too many")
        answer = self._ask("GET", self._below(str(image["url"])), fine=(404, 410))
        if answer.is_redirect:
            answer = self._fetch(answer.headers["location"])
        if answer.status_code != 200:
            return None
        if hashlib.sha256(answer.content).hexdigest() != image["sha256"]:
            raise GenerationError(
                f"{self.url}: a picture came with other bytes than its job tells; is something "
                "between us and the service changing pictures?"
            )
        return answer.content

    def cancel(self, name: str) -> None:
        """Stop a job; one try, for nobody waits for it."""
        with contextlib.suppress(httpx.HTTPError):
            self._http.post(f"{self.url}/api/jobs/{name}/cancel", timeout=5)

    def _below(self, path: str) -> str:
        """The service tells its paths from its host's root."""
        root = urlsplit(self.url).path
        return path.removeprefix(root) if root else path

    def _fetch(self, address: str) -> httpx.Response:
        """From the store, without our key."""
        return self._try(lambda: httpx.get(address, timeout=ANSWER_S), fine=(403, 404, 410))

    def _ask(
        self,
        method: str,
        path: str,
        *,
        fine: Sequence[int] = (),
        may_be_full: bool = False,
        **more: Any,
    ) -> httpx.Response:
        return self._try(
            lambda: self._http.request(method, f"{self.url}{path}", **more), fine, may_be_full
        )

    def _try(
        self,
        call: Callable[[], httpx.Response],
        fine: Sequence[int] = (),
        may_be_full: bool = False,
    ) -> httpx.Response:
        """Repeat what may go better later, with growing pauses.

        Raises ConfigError (key, request), Later, GenerationError when patience is over.
        """
        end, pause = time.monotonic() + self._patience_s, 0.2
        while True:
            try:
                answer = call()
            except httpx.HTTPError as exc:
                why, asked = f"{type(exc).__name__}: {exc}", 0.0
            else:
                status = answer.status_code
                if answer.is_success or answer.is_redirect or status in fine:
                    return answer
                why, asked = f"HTTP {status}", _retry_after(answer)
                if status in (429, 503) and may_be_full:
                    raise Later(asked or 5.0, _detail(answer) or why)
                if status < 500 and status not in (408, 429):
                    raise self._refused(answer)
            if time.monotonic() + pause >= end:
                raise GenerationError(
                    f"{self.url} cannot be used for {self._patience_s:.0f} s now ({why}); start "
                    "it, then go on: what was made is kept"
                )
            time.sleep(min(max(pause, asked), LONGEST_PAUSE_S) * random.uniform(0.8, 1.2))
            pause = min(pause * 2, 10.0)

    def _refused(self, answer: httpx.Response) -> ConfigError:
        detail = _detail(answer) or f"HTTP {answer.status_code}"
        if answer.status_code == 401:
            return ConfigError(f"{self.url}: {detail}; set TESTSTRIP_SERVICE_KEY")
        if answer.status_code in (413, 422):
            return Wrong(f"{self.url}: {detail}", _problem(answer).get("faults") or ())
        return ConfigError(f"{self.url}: {detail}")


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _detail(answer: httpx.Response) -> str:
    return str(_problem(answer).get("detail") or "")


def _retry_after(answer: httpx.Response) -> float:
    given = answer.headers.get("retry-after", "")
    return min(float(given), LONGEST_PAUSE_S) if given.isascii() and given.isdigit() else 0.0
