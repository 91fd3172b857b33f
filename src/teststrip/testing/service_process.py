"""A process of the service (`service up`, `web`, `worker`) for tests: started, asked, killed."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

from teststrip.testing.own_process import PATIENCE_S, OwnProcess

INSTANT = "teststrip.testing.instant:InstantStepper"


class ServiceProcess(OwnProcess):
    """`teststrip service VERB...` in `folder`, ready when the block begins; killed at its end."""

    def __init__(
        self, folder: Path, *verb: str, name: str = "", settings: Mapping[str, Any] | None = None
    ) -> None:
        engine = {"engine": INSTANT}
        super().__init__(
            folder, name or verb[0], "TESTSTRIP_SERVICE_", engine | dict(settings or {})
        )
        self._verb = verb
        self.client = httpx.Client(timeout=PATIENCE_S, trust_env=False)

    def verb(self) -> tuple[str, ...]:
        """A worker listens nowhere."""
        more = () if self._verb[0] == "worker" else ("--port", "0")
        return ("service", *self._verb, *more)

    def close(self) -> None:
        """End it, if it runs, and its client."""
        super().close()
        self.client.close()

    def post(self, wish: Mapping[str, Any], **headers: str) -> dict[str, Any]:
        """Accepted, as the API tells it."""
        answer = self.client.post(f"{self.address}/api/jobs", json=wish, headers=headers)
        assert answer.status_code in (200, 202), answer.text  # noqa: S101
        told: dict[str, Any] = answer.json()
        return told

    def get(self, path: str) -> httpx.Response:
        """Any path; redirects are followed."""
        return self.client.get(f"{self.address}{path}", follow_redirects=True)

    def job(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """As it is now."""
        answer = self.get(str(told["url"]))
        assert answer.status_code == 200, answer.text  # noqa: S101
        found: dict[str, Any] = answer.json()
        return found

    def until(
        self, told: Mapping[str, Any], is_so: Callable[[dict[str, Any]], bool] | None = None
    ) -> dict[str, Any]:
        """The job once it has ended, or once `is_so`."""
        wanted = is_so or (lambda job: job["state"] not in ("queued", "running"))
        return until(lambda: job if wanted(job := self.job(told)) else None, self.log_text)

    def log(self) -> list[dict[str, Any]]:
        """The lines of its log that are JSON."""
        return [json.loads(line) for line in self.log_text().splitlines() if line[:1] == "{"]


def until(found: Callable[[], Any], explain: Callable[[], str] = str) -> Any:
    """Ask until there is an answer. Raises AssertionError after two minutes."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"did not come within {PATIENCE_S} s\n{explain()[-4000:]}")
