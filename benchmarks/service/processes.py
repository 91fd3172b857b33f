"""Web and worker processes against the real servers of `scripts/services.sh`, kept alive.

A supervisor starts anew whatever ends, as systemd or Kubernetes would.
"""

import os
import random
import secrets
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teststrip.testing.service_process import ServiceProcess

TOLD = ("TESTSTRIP_TEST_BROKER", "TESTSTRIP_TEST_REDIS", "TESTSTRIP_TEST_S3")
ENGINE = """
import functools
from teststrip.testing.instant import InstantStepper
stepper = functools.partial(InstantStepper, step_s={step_s}, slots={slots})
"""


def settings(**more: object) -> dict[str, object]:
    """What all processes of one trial are told: the servers, a namespace and bucket of their own.

    Ends the program where the servers are not running.
    """
    absent = [name for name in TOLD if not os.environ.get(name)]
    if absent:
        raise SystemExit(f"{absent[0]} is not set; run this by: scripts/services.sh run ...")
    broker, redis, s3 = (os.environ[name] for name in TOLD)
    name = f"t{secrets.token_hex(5)}"
    keys = {key: value for key, value in os.environ.items() if key.startswith("AWS_")}
    return {
        "broker": broker,
        "redis": redis,
        "store": f"s3://{name}/pictures",
        "s3_endpoint": s3,
        "namespace": name,
        "secret": secrets.token_hex(16),
        "log": "json",
        **keys,
        **more,
    }


class Kept:
    """One process that is started again whenever it ends, until `stop`."""

    def __init__(self, process: ServiceProcess, pause_s: float = 1.0) -> None:
        self.process, self._pause_s = process, pause_s
        self.killed: set[int] = set()
        self.deaths: list[int] = []  # process numbers of those that ended
        self.false_starts = 0  # a server was away, or it was killed at once
        self.is_up = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    @property
    def own_deaths(self) -> int:
        """How often it ended without being killed from here."""
        return sum(pid not in self.killed for pid in self.deaths)

    def kill(self) -> None:
        """kill -9, as the machine's power switch would."""
        pid = self.process.pid
        self.killed.add(pid)
        if not self.process.has_ended():
            os.kill(pid, signal.SIGKILL)

    def stop(self, which: signal.Signals = signal.SIGTERM) -> None:
        """End it for good."""
        self._over.set()
        self._thread.join()
        self.process.kill(which)
        self.process.client.close()

    def _keep(self) -> None:
        while not self._over.is_set():
            try:
                self.process.start()
            except (AssertionError, ValueError):
                self.false_starts += 1
                self._over.wait(self._pause_s)
                continue
            self.is_up.set()
            while not self.process.has_ended() and not self._over.wait(0.05):
                pass
            if not self._over.is_set():
                self.is_up.clear()
                self.deaths.append(self.process.pid)
                self._over.wait(self._pause_s)


class Cluster:
    """`webs` and `workers` processes with these settings; logs lie in `folder`."""

    def __init__(
        self,
        folder: Path,
        given: Mapping[str, object],
        *,
        webs: int,
        workers: int,
        step_s: float,
        slots: int,
    ) -> None:
        self.folder, self.settings = folder, dict(given)
        engine = {"engine": "slow_engine:stepper"}
        (folder / "slow_engine.py").write_text(ENGINE.format(step_s=step_s, slots=slots))
        self.webs = [self._kept("web", number, self.settings | engine) for number in range(webs)]
        self.workers = [
            self._kept("worker", number, self.settings | engine) for number in range(workers)
        ]
        for one in [*self.webs, *self.workers]:
            one.is_up.wait()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        for one in [*self.workers, *self.webs]:
            one.stop()

    def address(self, rng: random.Random) -> str:
        """Of a web that is up; waits for one."""
        while True:
            up = [web.process.address for web in self.webs if web.is_up.is_set()]
            if up:
                return rng.choice(up)
            time.sleep(0.05)

    def _kept(self, verb: str, number: int, given: Mapping[str, Any]) -> Kept:
        name = f"{verb}{number}"
        more = ("--name", name) if verb == "worker" else ()
        return Kept(ServiceProcess(self.folder, verb, *more, name=name, settings=given))
