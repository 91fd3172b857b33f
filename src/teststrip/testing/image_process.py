"""What a container of one of our images runs, as a process, where there is no Docker.

It has the image's packages and no other (`image_environment`), its variables, its command at a
free port, its health check, and a user who may write to its home and to /tmp alone.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from teststrip.testing import image_environment
from teststrip.testing.dockerfile import Dockerfile

REPOSITORY = Path(__file__).parents[3]
DOCKER = REPOSITORY / "deploy" / "docker"
USER = 10001


class ImageProcess:
    """The command of the image `target`; it is healthy when the block begins, gone after it.

    `settings`: variables beside those of the image, as compose.yaml would set them.
    """

    def __init__(self, target: str, settings: Mapping[str, str]) -> None:
        image = Dockerfile(DOCKER / "Dockerfile")
        # Not below pytest's folder: that is for one user alone
        self.folder = Path(tempfile.mkdtemp(prefix="teststrip-image-"))
        self.home = self.folder / "data"
        (self.home / "tmp").mkdir(parents=True)
        packages = set(image_environment.pins(DOCKER / "locks" / f"{target}.txt"))
        packages |= {"torch"} if target == "worker-cpu" else set()
        folder = self.folder / "env"
        programs = image_environment.make(folder, packages, sources=REPOSITORY / "src")
        health = image.health(target)
        found = re.search(r"127\.0\.0\.1:(\d+)/", health[-1])
        inside = found[1] if found else ""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])
        named = image.variables(target)
        path = named.pop("PATH").replace("/opt/teststrip/bin", str(programs))
        env = {k: v.replace("/data", str(self.home)) for k, v in named.items()} | dict(settings)
        env |= {"PATH": path.replace("$PATH", "/usr/local/bin:/usr/bin:/bin")}
        env |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self.env = {k: self.port if v == inside else v for k, v in env.items()}
        self._command = [self.port if part == inside else part for part in image.command(target)]
        self._health = [part.replace(f":{inside}/", f":{self.port}/") for part in health]
        self._as_user: list[str] = []
        if os.getuid() == 0:
            for own in (self.folder, self.home, self.home / "tmp"):
                os.chown(own, USER, USER)
            who = [f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--no-new-privs"]
            # It may read what root has, since the interpreter may lie there; write it may not
            caps = [f"--{kind}-caps=-all,+dac_read_search" for kind in ("inh", "ambient")]
            self._as_user = ["setpriv", *who, *caps, "--"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [*self._as_user, *self._command],
                cwd=self.home,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        while (health := self.run(*self._health)).returncode:
            gone = self._process.poll() is not None
            if gone or "HTTPError" in health.stderr:  # else nobody answers yet
                said = f"{health.stderr}\n{self.log()}"
                self.__exit__()
                raise AssertionError(said)
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Another command beside it, as `docker compose exec` would."""
        return subprocess.run(  # noqa: S603 - our own program
            [*self._as_user, *command],
            cwd=self.home,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )

    def log(self) -> str:
        """What it said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def stop(self) -> int:
        """Told to go, as `docker compose stop` does; its exit status."""
        assert self._process is not None  # noqa: S101 - used in tests alone
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait()
