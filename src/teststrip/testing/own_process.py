"""A command of ours that serves, as a process for tests: started, killed, started again."""

import json
import os
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

PATIENCE_S = 120.0  # for a busy machine; whoever is quick ends quickly
QUIET = ("TESTSTRIP_", "MLFLOW_", "_MLFLOW_", "AWS_", "GOOGLE_", "STORAGE_", "PG", "OTEL_")


class OwnProcess(ABC):
    """`teststrip VERB... --json` in `folder`, ready when the block begins; killed at its end.

    Its home is `folder`/home, its log `folder`/NAME.log. Settings of whoever runs the tests do
    not reach it; `settings` are variables, to which `prefix` is added where they have none.
    """

    def __init__(self, folder: Path, name: str, prefix: str, settings: Mapping[str, Any]) -> None:
        self.name, self.folder, self.home = name, folder, folder / "home"
        folder.mkdir(parents=True, exist_ok=True)
        bare = {k: v for k, v in os.environ.items() if not k.startswith(QUIET)}
        own = {
            k if k.startswith(QUIET) else f"{prefix}{k.upper()}": str(v)
            for k, v in settings.items()
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
        self.close()

    @abstractmethod
    def verb(self) -> tuple[str, ...]:
        """What follows `teststrip`, at this start."""

    def start(self) -> None:
        """Start it (again) and wait until it says that it is there.

        Raises AssertionError with the end of its log.
        """
        self.kill()
        with self.log_file.open("a") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "teststrip", *self.verb(), "--json"],
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        said = self._process.stdout.readline() if self._process.stdout else ""
        self.told = json.loads(said) if said else {"error": "it said nothing"}
        if "error" in self.told:
            self.wait()
            raise AssertionError(f"{self.name} did not start: {said}\n{self.log_text()[-4000:]}")
        self.address = str(self.told.get("address", "")).rstrip("/")

    def close(self) -> None:
        """End it, if it runs."""
        self.kill()

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._process is not None  # noqa: S101 - used in tests alone
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
        return self.wait()

    def wait(self) -> int:
        """Wait until it ends by itself; the exit code."""
        assert self._process is not None  # noqa: S101
        code = self._process.wait(PATIENCE_S)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return code

    def log_text(self) -> str:
        """Its log so far."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    @property
    def log_file(self) -> Path:
        """Where its log goes."""
        return self.folder / f"{self.name}.log"
