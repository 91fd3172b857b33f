#!/usr/bin/env python
"""Runs the unit files of deploy/vm as systemd would, without systemd: `systemctl` for a trial.

    python vm_units.py --stage FOLDER start|stop|restart|reload|is-active|is-failed UNIT...

The unit's own lines are read and run: its environment, its files of settings, its credentials, what
comes before it, its command. Nothing of the caller's environment comes in. Paths of the machine
(/etc/teststrip, ...) are those below FOLDER. Of the sandbox it has what a process can do to itself:
no new privileges, no memory that is written and run, no capabilities but those named, the umask.
Left out is what needs systemd: users, other views of the disk, filters of system calls, restarts.
"""

import argparse
import ctypes
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

OURS = re.compile(r"(?<![\w./-])/(?=(?:opt|etc|run|var/lib)/teststrip)")
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65  # prctl(2)
QUIETLY = ("enable", "disable", "daemon-reload")


def parse(file: Path) -> dict[str, list[str]]:
    """The [Service] section: each key with all its values, in order."""
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        text = line.strip()
        if text.startswith("["):
            section = text
        elif section == "[Service]" and "=" in text and not text.startswith(("#", ";")):
            key, _, value = text.partition("=")
            found[key.strip()].append(value.strip())
    return found


class Unit:
    """A service of the machine whose root is `stage`."""

    def __init__(self, stage: Path, name: str) -> None:
        self.stage, self.name = stage, name.removesuffix(".service")
        self.lines = parse(stage / f"etc/systemd/system/{self.name}.service")
        self.credentials = stage / "run/credentials" / f"{self.name}.service"
        self.log = stage / "var/log" / f"{self.name}.log"
        self._pid_file = stage / "run" / f"{self.name}.pid"

    @property
    def pid(self) -> int:
        """Of its process; 0 where none lives."""
        try:
            pid = int(self._pid_file.read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
        except (OSError, ValueError):
            return 0
        return 0 if state in "ZX" else pid

    def environment(self) -> dict[str, str]:
        """What its commands see: nothing but this."""
        env = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        env["HOME"] = self.here(next(iter(self.lines["WorkingDirectory"]), "/nonexistent"))
        for line in self.lines["Environment"]:
            env |= dict(pair.split("=", 1) for pair in shlex.split(self.here(line)))
        for name in self.lines["EnvironmentFile"]:
            file = Path(self.here(name.removeprefix("-")))
            if not file.exists() and name.startswith("-"):
                continue
            for line in file.read_text(encoding="utf-8").splitlines():
                key, is_setting, value = line.partition("=")
                if is_setting and not line.startswith("#"):
                    env[key] = self.here(value.strip('"'))
        if self.lines["LoadCredential"]:
            env["CREDENTIALS_DIRECTORY"] = str(self.credentials)
        return env

    def start(self) -> None:
        """Run it, unless it runs. Raises SystemExit where what comes before it fails."""
        if self.pid:
            return
        for key in ("StateDirectory", "RuntimeDirectory"):
            for name in self.lines[key]:
                top = "var/lib" if key.startswith("State") else "run"
                (self.stage / top / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(self.credentials, ignore_errors=True)
        for line in self.lines["LoadCredential"]:
            name, _, source = line.partition(":")
            self.credentials.mkdir(parents=True, exist_ok=True, mode=0o700)
            shutil.copy(self.here(source), self.credentials / name)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        env = self.environment()
        with self.log.open("a") as log:
            for line in self.lines["ExecStartPre"]:
                code = subprocess.call(
                    self.command(line, env), env=env, stdout=log, stderr=log, **self.confined()
                )
                if code:
                    raise SystemExit(f"{self.name}: ExecStartPre ended with {code}, see {self.log}")
            process = subprocess.Popen(
                self.command(self.lines["ExecStart"][0], env),
                env=env,
                cwd=self.here(next(iter(self.lines["WorkingDirectory"]), "/")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **self.confined(),
            )
        self._pid_file.parent.mkdir(parents=True, exist_ok=True)
        self._pid_file.write_text(str(process.pid))

    def stop(self, which: signal.Signals = signal.SIGTERM) -> None:
        """End it; kill it after 30 s, as TimeoutStopSec says."""
        pid, until = self.pid, time.monotonic() + 30
        while pid and self.pid == pid:
            try:
                os.killpg(pid, which)
            except ProcessLookupError:
                return
            which = signal.SIGKILL if time.monotonic() > until else signal.Signals(which)
            time.sleep(0.1)

    def reload(self) -> None:
        """Its ExecReload."""
        env = self.environment()
        with self.log.open("a") as log:
            command = self.command(self.lines["ExecReload"][0], env)
            subprocess.check_call(command, env=env, stdout=log, stderr=log)

    def command(self, line: str, env: dict[str, str]) -> list[str]:
        """A command line of the unit as it is run here."""
        words = [
            re.sub(r"\$\{(\w+)\}", lambda found: env[found[1]], word)
            for word in shlex.split(self.here(line))
        ]
        if words[0] == "/usr/bin/caddy":  # where a machine without it has it
            words[0] = os.environ.get("TESTSTRIP_CADDY", words[0])
        if os.getuid() != 0:
            return words
        kept = "".join(f",+{name.lower()}" for name in self.lines["CapabilityBoundingSet"] if name)
        return ["setpriv", f"--bounding-set=-all{kept.replace('cap_', '')}", "--", *words]

    def confined(self) -> dict[str, Any]:
        """Options of Popen: what the unit's sandbox asks of the process itself."""
        refuses_code = self.lines["MemoryDenyWriteExecute"] == ["yes"]
        no_more = self.lines["NoNewPrivileges"] == ["yes"]

        def confine() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            # An older kernel knows no MDWE; systemd then filters system calls instead.
            if refuses_code:
                libc.prctl(PR_SET_MDWE, 1, 0, 0, 0)
            if no_more and libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
                raise OSError(ctypes.get_errno(), "no_new_privs")

        return {"umask": int(self.lines["UMask"][0], 8), "preexec_fn": confine}

    def here(self, text: str) -> str:
        """Paths of the machine below the stage; %d is the folder of credentials."""
        text = text.replace("%d", str(self.credentials))
        text = text.replace("unix//run/", f"unix/{self.stage}/run/")
        return OURS.sub(f"{self.stage}/", text)


def main() -> int:
    """The verbs of systemctl that deploy/vm uses; its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage", type=Path, required=True)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("verb")
    parser.add_argument("units", nargs="*")
    given = parser.parse_intermixed_args()
    if given.verb in QUIETLY:
        return 0
    for name in given.units:
        unit = Unit(given.stage, name)
        if given.verb == "is-active":
            if not given.quiet:
                print("active" if unit.pid else "inactive")
            if not unit.pid:
                return 3
        elif given.verb == "is-failed":
            if unit.pid:
                return 1
        elif given.verb == "restart":
            unit.stop()
            unit.start()
        else:
            {"start": unit.start, "stop": unit.stop, "reload": unit.reload}[given.verb]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
