"""A real `teststrip track serve` for tests: started, asked, killed, started again at its port."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from teststrip.testing.service_process import PATIENCE_S

QUIET = ("TESTSTRIP_", "MLFLOW_", "_MLFLOW_", "AWS_", "GOOGLE_", "STORAGE_", "PG", "OTEL_")


class TrackProcess:
    """A tracking server in `folder`, which answers when the block begins; killed at its end.

    Its home is `folder`/home, its log `folder`/NAME.log. Settings of whoever runs the tests do
    not reach it; `settings` are variables, without TESTSTRIP_TRACK_ where they have no prefix.
    After a stop or a kill, `start` brings it back at the same port.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "track",
        host: str = "127.0.0.1",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.home = name, folder / "home"
        self._folder, self._host, self._port = folder, host, 0
        folder.mkdir(parents=True, exist_ok=True)
        bare = {k: v for k, v in os.environ.items() if not k.startswith(QUIET)}
        own = {
            k if k.startswith(QUIET) else f"TESTSTRIP_TRACK_{k.upper()}": str(v)
            for k, v in (settings or {}).items()
        }
        threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self.env = bare | threads | {"TESTSTRIP_HOME": str(self.home)} | own
        self.address = ""
        self.told: dict[str, Any] = {}
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it (again) and wait until it answers. Raises AssertionError with its log."""
        self.kill()
        verb = ("track", "serve", "--host", self._host, "--port", str(self._port), "--json")
        with self.log_file.open("a") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "teststrip", *verb],
                cwd=self._folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        said = self._process.stdout.readline() if self._process.stdout else ""
        self.told = json.loads(said) if said else {}
        if "address" not in self.told:
            self.kill()
            raise AssertionError(f"{self.name} did not start: {said}\n{self.log_text()[-4000:]}")
        self.address = str(self.told["address"])
        self._port = urlsplit(self.address).port or 0
        answer = httpx.get(f"{self.address}/health", timeout=PATIENCE_S, trust_env=False)
        assert answer.status_code == 200, answer.text  # noqa: S101 - used in tests alone

    @property
    def username(self) -> str:
        """Of the first user, who may do everything."""
        return self.env.get("TESTSTRIP_TRACK_ADMIN_USERNAME", "admin")

    @property
    def password(self) -> str:
        """Of the first user."""
        given = self.env.get("TESTSTRIP_TRACK_ADMIN_PASSWORD")
        kept = self.home / "track" / "secrets" / "admin-password"
        return given or (kept.read_text() if kept.exists() else "")

    @property
    def client_env(self) -> dict[str, str]:
        """What a client needs, and all that it needs: address, name, password."""
        return {
            "MLFLOW_TRACKING_URI": self.address,
            "MLFLOW_TRACKING_USERNAME": self.username,
            "MLFLOW_TRACKING_PASSWORD": self.password,
        }

    def http(self, *, login: tuple[str, str] | None = None, **options: Any) -> httpx.Client:
        """A client of it; `login` (name, password), else the first user's. Close it."""
        auth = login or (self.username, self.password)
        return httpx.Client(
            base_url=self.address, auth=auth, timeout=PATIENCE_S, trust_env=False, **options
        )

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None  # noqa: S101
        return self._process.pid

    def has_ended(self) -> bool:
        """Is it gone?"""
        return self._process is None or self._process.poll() is not None

    def kill(self, which: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal (SIGTERM: it finishes what is under way), wait; the exit code."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(which)
        code = self._process.wait(PATIENCE_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def stop(self) -> int:
        """End it as an operator would; the exit code."""
        return self.kill(signal.SIGTERM)

    def restart(self) -> None:
        """Kill -9, and start it again at the same address."""
        self.start()

    def log_text(self) -> str:
        """Its log so far."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    @property
    def log_file(self) -> Path:
        """Where its log goes."""
        return self._folder / f"{self.name}.log"
