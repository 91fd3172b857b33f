"""A process of the service (`service up`, `web`, `worker`) for tests: started, asked, killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import httpx

PATIENCE_S = 120.0  # for a busy machine; whoever is quick ends quickly
QUIET = ("TESTSTRIP_", "MLFLOW_", "AWS_", "OTEL_")
INSTANT = "teststrip.testing.instant:InstantStepper"


class ServiceProcess:
    """`teststrip service VERB...` in `folder`, ready when the block begins; killed at its end.

    Its home is `folder`/home, its log `folder`/NAME.log. Settings of whoever runs the tests do
    not reach it; `settings` are variables without TESTSTRIP_SERVICE_ where they have no prefix.
    """

    def __init__(
        self, folder: Path, *verb: str, name: str = "", settings: Mapping[str, Any] | None = None
    ) -> None:
        self.name = name or verb[0]
        self._folder, self._verb = folder, verb
        bare = {k: v for k, v in os.environ.items() if not k.startswith(QUIET)}
        own = {
            k if k.startswith(QUIET) else f"TESTSTRIP_SERVICE_{k.upper()}": str(v)
            for k, v in ({"engine": INSTANT} | dict(settings or {})).items()
        }
        threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self._env = bare | threads | {"TESTSTRIP_HOME": str(folder / "home")} | own
        self.address = ""
        self._process: subprocess.Popen[str] | None = None
        self.client = httpx.Client(timeout=PATIENCE_S, trust_env=False)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, if it runs, and its client."""
        self.kill()
        self.client.close()

    def start(self) -> None:
        """Start it (again) and wait until it says that it is there."""
        self.kill()
        more = () if self._verb[0] == "worker" else ("--port", "0")
        command = [sys.executable, "-m", "teststrip", "service", *self._verb, *more, "--json"]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command,
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        said = self._process.stdout.readline() if self._process.stdout else ""
        if not said or "error" in json.loads(said):
            raise AssertionError(f"{self.name} did not start:\n{self._log.read_text()[-4000:]}")
        self.address = str(json.loads(said).get("address", "")).rstrip("/")

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None  # noqa: S101 - used in tests alone
        return self._process.pid

    def has_ended(self) -> bool:
        """Is it gone?"""
        return self._process is None or self._process.poll() is not None

    def kill(self, which: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; the exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(which)
        return self.wait()

    def wait(self) -> int:
        """Wait until it ends by itself; the exit code."""
        assert self._process is not None  # noqa: S101
        code = self._process.wait(PATIENCE_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

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

    def log_text(self) -> str:
        """Its log so far."""
        return self._log.read_text() if self._log.exists() else ""

    def log(self) -> list[dict[str, Any]]:
        """The lines of its log that are JSON."""
        return [json.loads(line) for line in self.log_text().splitlines() if line[:1] == "{"]

    @property
    def _log(self) -> Path:
        return self._folder / f"{self.name}.log"


def until(found: Callable[[], Any], explain: Callable[[], str] = str) -> Any:
    """Ask until there is an answer. Raises AssertionError after two minutes."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if answer := found():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"did not come within {PATIENCE_S} s\n{explain()[-4000:]}")
