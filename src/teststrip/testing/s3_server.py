"""A real S3 server (nanio, which checks signatures) for tests: started, killed, started again."""

import contextlib
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from teststrip.testing.own_process import PATIENCE_S


class S3Server:
    """At a free port of 127.0.0.1, with one bucket, ready when the block begins.

    `env`: what a client needs to know, the secret key too. The data lie in `folder`.
    """

    def __init__(self, folder: Path, bucket: str = "projects") -> None:
        self.folder, self.bucket = folder, bucket
        self.access_key, self.secret_key = "tests-of-teststrip", secrets.token_hex(20)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """http://127.0.0.1:PORT."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def env(self) -> dict[str, str]:
        """The log-in, as variables."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def __enter__(self) -> Self:
        self.start()
        with self.client() as s3:
            s3.create_bucket(Bucket=self.bucket)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Start it (again, at the same port) and wait until it answers. Raises AssertionError."""
        self.kill()
        self.folder.mkdir(parents=True, exist_ok=True)
        keys = {"NANIO_ACCESS_KEY": self.access_key, "NANIO_SECRET_KEY": self.secret_key}
        command = [str(Path(sys.executable).with_name("nanio")), "serve", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--data-dir", str(self.folder / "data")]
        with (self.folder / "s3.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the server of the tests
                command, env=keys, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        log_text = (self.folder / "s3.log").read_text(errors="replace")[-4000:]
        raise AssertionError(f"the S3 server did not start\n{log_text}")

    def kill(self) -> None:
        """kill -9, if it runs; its data stay."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def keys(self) -> list[str]:
        """Names of everything in the bucket, sorted."""
        with self.client() as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
            return sorted(item["Key"] for page in pages for item in page.get("Contents", ()))

    def client(self) -> contextlib.closing[Any]:
        """A boto3 client of it, as a context."""
        import boto3  # type: ignore[import-untyped]

        return contextlib.closing(
            boto3.client(
                "s3",
                endpoint_url=self.address,
                region_name="us-east-1",
                aws_access_key_id=self.access_key,
                aws_secret_access_key=self.secret_key,
            )
        )
