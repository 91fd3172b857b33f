"""A machine as deploy/vm/install.sh makes it, in a folder: PostgreSQL, S3, server, Caddy with TLS.

PostgreSQL answers at its socket alone, without passwords, as on a real machine; the bucket is a
server elsewhere (nanio), whose keys only the tracking server's credentials hold.
"""

import contextlib
import os
import shlex
import shutil
import socket
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Self

import httpx
from vm_certificates import Authority
from vm_servers import BUCKET, PATIENCE_S, Bucket, Postgres, run
from vm_units import Unit

REPOSITORY = Path(__file__).parents[2]
NAME = "mlflow.team.test"  # of no real network (RFC 6761)
UNITS = ("teststrip-track", "teststrip-caddy")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has, as many at once."""
    with contextlib.ExitStack() as held:
        made = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in made]


class Machine:
    """Everything of it runs while the block does. `root` is its root folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vm-"))  # short: a socket's path is in it
        self.folder.chmod(0o755)  # PostgreSQL runs as another user
        self.root = self.folder / "root"
        self.authority = Authority(self.folder / "tls")
        self.track_port, self.http_port, self.https_port, s3_port = free_ports(4)
        self.url = f"https://{NAME}:{self.https_port}"
        self.inside = f"http://127.0.0.1:{self.track_port}"
        self.bucket = Bucket(self.folder, s3_port)
        self.postgres = Postgres(self.folder)
        self.hosts = self.folder / "hosts"
        self.hosts.write_text(f"127.0.0.1 localhost {NAME}\n")

    def __enter__(self) -> Self:
        try:
            self.postgres.start()
            self.bucket.start()
            self._stage()
            self.install(certificate=self.authority.certificate(NAME))
            sql = self.root / "opt/teststrip/databases.sql"
            for _ in range(2):  # a second run of it changes nothing
                self.vm_tool("psql", "-qX", "-v", "ON_ERROR_STOP=1", "-d", "postgres", "-f", sql)
            self.systemctl("start", *UNITS)
            self.await_health()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in UNITS:
            with contextlib.suppress(OSError):
                Unit(self.root, name).stop()
        self.bucket.stop()
        self.postgres.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def install(self, *, certificate: tuple[Path, Path] | None = None, more: Any = ()) -> str:
        """Run deploy/vm/install.sh below the root folder; what it said."""
        tls = ("--certificate", certificate[0], "--key", certificate[1]) if certificate else ()
        return run([REPOSITORY / "deploy/vm/install.sh", "--stage", self.root, *tls, *more])

    def systemctl(self, *verb: str) -> str:
        """A verb on units, as the machine's own scripts call it."""
        return run([self.root / "bin/systemctl", *verb], env=self.admin_env)

    def vm_tool(self, *command: object, rc: int = 0) -> str:
        """A command as the machine's administrator; `teststrip-vm` is the script of deploy/vm."""
        return run(command, env=self.admin_env, rc=rc)

    @property
    def admin_env(self) -> dict[str, str]:
        """root's environment on it."""
        return {
            "PATH": f"{self.root}/bin:{self.root}/usr/local/sbin:{self.postgres.programs}"
            f":{os.defpath}:/usr/sbin:/sbin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PGHOST": str(self.postgres.socket),
            "PGUSER": "postgres",
            "TESTSTRIP_VM_ROOT": str(self.root),
            "TESTSTRIP_CADDY": _caddy(),
        }

    @property
    def admin_password(self) -> str:
        """Of the first user, as the administrator reads it."""
        return (self.root / "etc/teststrip/secrets/admin-password").read_text().strip()

    def client_env(self, login: tuple[str, str], home: Path) -> dict[str, str]:
        """Of somebody elsewhere: an address, a log-in, the authority; no key of any cloud."""
        return {
            "PATH": os.defpath,
            "HOME": str(home),
            "TESTSTRIP_HOME": str(home / "data"),
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_USERNAME": login[0],
            "MLFLOW_TRACKING_PASSWORD": login[1],
            "MLFLOW_TRACKING_SERVER_CERT_PATH": str(self.authority.file),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
        }

    def elsewhere(self, *command: object) -> list[str]:
        """The command where NAME is this machine: with an /etc/hosts of its own."""
        script = f'mount --bind {shlex.quote(str(self.hosts))} /etc/hosts && exec "$@"'
        as_root = [] if os.getuid() == 0 else ["--map-root-user"]
        return ["unshare", "--mount", *as_root, "sh", "-c", script, "sh", *map(str, command)]

    def http(self, login: tuple[str, str] | None = None, *, verify: Any = None) -> httpx.Client:
        """A client of the public address; NAME is found without asking a name server."""
        address = f"https://127.0.0.1:{self.https_port}"
        hooks = {"request": [self._to_name]}
        return httpx.Client(
            base_url=address,
            auth=login,
            verify=verify if verify is not None else _trusting(self.authority.file),
            timeout=PATIENCE_S,
            trust_env=False,
            event_hooks=hooks,
        )

    def await_health(self) -> None:
        """Wait until it answers by its name, over TLS."""
        until = time.monotonic() + PATIENCE_S
        with self.http() as client:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if client.get("/health").status_code == 200:
                        return
                if not all(Unit(self.root, name).pid for name in UNITS) or (
                    time.monotonic() > until
                ):
                    raise AssertionError(f"it does not answer:\n{self.logs()}")
                time.sleep(0.2)

    def logs(self) -> str:
        """The end of each unit's log."""
        files = sorted((self.root / "var/log").glob("*.log"))
        return "\n".join(f"== {f.name}\n{f.read_text()[-3000:]}" for f in files)

    def _to_name(self, request: httpx.Request) -> None:
        request.extensions["sni_hostname"] = request.extensions.get("sni_hostname", NAME)
        if request.headers["host"].startswith("127.0.0.1"):
            request.headers["host"] = f"{NAME}:{self.https_port}"

    def _stage(self) -> None:
        """What no script of ours makes: programs, and what an administrator has in hand."""
        current = self.root / "opt/teststrip/current"
        current.parent.mkdir(parents=True)
        current.symlink_to(Path(sys.prefix))
        shim = self.root / "bin/systemctl"
        shim.parent.mkdir()
        units = Path(__file__).with_name("vm_units.py")
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} {units} --stage {self.root} "$@"\n')
        shim.chmod(0o755)
        database = self.folder / "database"
        database.write_text(f"postgresql://teststrip@/mlflow?host={self.postgres.socket}\n")
        ports = ["--port", self.track_port, "--http-port", self.http_port]
        ports += ["--https-port", self.https_port, "--python", sys.executable]
        keys = self.folder / "aws-credentials"
        keys.write_text(
            f"[default]\naws_access_key_id = {self.bucket.keys[0]}\n"
            f"aws_secret_access_key = {self.bucket.keys[1]}\n"
        )
        bucket = ["--artifacts", f"s3://{BUCKET}/runs", "--s3-endpoint", self.bucket.endpoint]
        bucket += ["--aws-credentials", keys]
        good = self.authority.certificate(NAME)
        self.install(
            certificate=good,
            more=["--domain", NAME, "--database-file", database, *ports, *bucket],
        )


def _trusting(file: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(file))


def _caddy() -> str:
    return run([REPOSITORY / "scripts/deploy_tools.sh", "caddy"]).strip().splitlines()[-1]
