"""A real `teststrip track serve` for tests: started, asked, killed, started again at its port."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from teststrip.testing.own_process import PATIENCE_S, OwnProcess


class TrackProcess(OwnProcess):
    """A tracking server in `folder`, which answers when the block begins; killed at its end.

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
        super().__init__(folder, name, "TESTSTRIP_TRACK_", settings or {})
        self._host, self._port = host, 0

    def verb(self) -> tuple[str, ...]:
        """At any free port, then always there."""
        return ("track", "serve", "--host", self._host, "--port", str(self._port))

    def start(self) -> None:
        """Start it (again) and wait until it answers. Raises AssertionError with its log."""
        super().start()
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

    def stop(self) -> int:
        """End it as an operator would; the exit code."""
        return self.kill(signal.SIGTERM)

    def restart(self) -> None:
        """Kill -9, and start it again at the same address."""
        self.start()
