"""Servers behind a trial's machine: PostgreSQL at a socket alone, an S3 server with keys."""

import contextlib
import getpass
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

BUCKET = "team-runs"
PATIENCE_S = 180


def run(command: Any, *, rc: int = 0, **options: Any) -> str:
    """What a command said. Raises AssertionError where it does not end with `rc`."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options
    )
    if done.returncode != rc:
        said = (done.stdout + done.stderr)[-4000:]
        raise AssertionError(f"{shlex.join(words)} ended with {done.returncode}:\n{said}")
    return done.stdout + done.stderr


class Server:
    """A process in the background with a log."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.log = folder, folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self, command: list[object], **options: Any) -> None:
        """Start it."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(word) for word in command],
                stdout=log,
                stderr=log,
                start_new_session=True,
                **options,
            )

    def stop(self) -> None:
        """SIGINT: PostgreSQL then does not wait for its clients."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def wait_until(self, is_up: Any) -> None:
        """Wait. Raises AssertionError with its log where it ends instead."""
        until = time.monotonic() + PATIENCE_S
        while not is_up():
            is_over = self._process is not None and self._process.poll() is not None
            if is_over or time.monotonic() > until:
                raise AssertionError(f"it does not answer:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.1)


class Postgres(Server):
    """PostgreSQL at a socket, where the system's users are its roles: no password, no port."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "postgres")
        self.socket = folder / "pg"
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        first = found[-1] if found else Path(shutil.which("initdb") or "/usr/bin/initdb").resolve()
        self.programs = first.parent

    def start(self) -> None:
        """Make it and start it."""
        data = self.folder / "pg-data"
        self.socket.mkdir()
        as_other: list[object] = []
        if os.getuid() == 0:  # it refuses to run as root
            as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            owner = pwd.getpwnam("postgres")
            data.mkdir()
            for one in (data, self.socket):
                os.chown(one, owner.pw_uid, owner.pw_gid)
        how = ["-A", "peer", "--no-sync", "--locale", "C", "--encoding", "UTF8"]
        run([*as_other, self.programs / "initdb", "-D", data, "-U", "postgres", *how], cwd="/")
        # On a real machine the system's user is the role; here one user plays both.
        (data / "pg_hba.conf").write_text("local all all peer map=here\n")
        roles = ("postgres", "teststrip")
        lines = [f"here {getpass.getuser()} {role}\n" for role in roles]
        (data / "pg_ident.conf").write_text("".join(lines))
        where = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={self.socket}"]
        self.begin([*as_other, self.programs / "postgres", "-D", data, *where], cwd="/")
        ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.socket)]
        self.wait_until(lambda: subprocess.call(ready) == 0)


class Bucket(Server):
    """An S3 server (nanio: it checks signatures) with one bucket."""

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder, "nanio")
        self._port = port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.keys = (f"key{secrets.token_hex(6)}", secrets.token_hex(20))

    def start(self) -> None:
        """Start it and make the bucket."""
        keys = {"NANIO_ACCESS_KEY": self.keys[0], "NANIO_SECRET_KEY": self.keys[1]}
        where = ["--host", "127.0.0.1", "--port", self._port, "--data-dir", self.folder / "nanio"]
        nanio = Path(sys.executable).parent / "nanio"
        self.begin([nanio, "serve", *where], env={"PATH": os.defpath} | keys)
        self.wait_until(self._listens)
        self.client().create_bucket(Bucket=BUCKET)

    def client(self) -> Any:
        """boto3's, with the keys that the tracking server has."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.keys[0],
            aws_secret_access_key=self.keys[1],
            region_name="us-east-1",
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def objects(self) -> list[str]:
        """Keys of all objects."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def _listens(self) -> bool:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self._port), 1).close()
            return True
        return False
