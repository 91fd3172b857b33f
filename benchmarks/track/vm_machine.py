"""A machine as deploy/vm/install.sh makes it, in a folder: PostgreSQL, S3, server, Caddy with TLS.

PostgreSQL answers at its socket alone, without passwords, as on a real machine; the bucket is a
server elsewhere (nanio), whose keys only the tracking server's credentials hold.
"""

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
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import boto3
import httpx
from botocore.config import Config
from vm_certificates import Authority
from vm_units import Unit

REPOSITORY = Path(__file__).parents[2]
NAME = "mlflow.team.test"  # of no real network (RFC 6761)
BUCKET = "team-runs"
PATIENCE_S = 180
UNITS = ("teststrip-track", "teststrip-caddy")


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has, as many at once."""
    with contextlib.ExitStack() as held:
        made = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in made]


class Machine:
    """Everything of it runs while the block does. `root` is its root folder."""

    def __init__(self, *, is_embedded_bucket: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vm-"))  # short: a socket's path is in it
        self.folder.chmod(0o755)  # PostgreSQL runs as another user
        self.root = self.folder / "root"
        self.authority = Authority(self.folder / "tls")
        self.track_port, self.http_port, self.https_port, s3_port = free_ports(4)
        self.url = f"https://{NAME}:{self.https_port}"
        self.inside = f"http://127.0.0.1:{self.track_port}"
        self.keys = (f"key{secrets.token_hex(6)}", secrets.token_hex(20))
        self.s3_endpoint = f"http://127.0.0.1:{s3_port}"
        self._own_bucket = not is_embedded_bucket
        self._others: list[subprocess.Popen[bytes]] = []
        self.hosts = self.folder / "hosts"
        self.hosts.write_text(f"127.0.0.1 localhost {NAME}\n")

    def __enter__(self) -> Self:
        try:
            self._postgres()
            if self._own_bucket:
                self._nanio()
            self._stage()
            self.install(certificate=self.authority.certificate(NAME))
            sql = self.root / "opt/teststrip/databases.sql"
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
        for one in reversed(self._others):
            one.send_signal(signal.SIGINT)  # PostgreSQL: do not wait for clients
            try:
                one.wait(30)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def install(self, *, certificate: tuple[Path, Path] | None = None, more: Any = ()) -> str:
        """Run deploy/vm/install.sh below the root folder; what it said."""
        tls = ("--certificate", certificate[0], "--key", certificate[1]) if certificate else ()
        return _run([REPOSITORY / "deploy/vm/install.sh", "--stage", self.root, *tls, *more])

    def systemctl(self, *verb: str) -> str:
        """A verb on units, as the machine's own scripts call it."""
        return _run([self.root / "bin/systemctl", *verb], env=self.admin_env)

    def vm_tool(self, *command: object, rc: int = 0) -> str:
        """A command as the machine's administrator; `teststrip-vm` is the script of deploy/vm."""
        return _run(command, env=self.admin_env, rc=rc)

    @property
    def admin_env(self) -> dict[str, str]:
        """root's environment on it."""
        return {
            "PATH": f"{self.root}/bin:{self.root}/usr/local/sbin:{_postgres_bin()}:{os.defpath}"
            ":/usr/sbin:/sbin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PGHOST": str(self.folder / "pg"),
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
        return ["unshare", "--mount", "sh", "-c", script, "sh", *map(str, command)]

    def http(self, login: tuple[str, str] | None = None, **options: Any) -> httpx.Client:
        """A client of the public address; NAME is found without asking a name server."""
        address = f"https://127.0.0.1:{self.https_port}"
        hooks = {"request": [self._to_name]}
        return httpx.Client(
            base_url=address,
            auth=login,
            verify=options.pop("verify", None) or _trusting(self.authority.file),
            timeout=PATIENCE_S,
            trust_env=False,
            event_hooks=hooks,
            **options,
        )

    def bucket(self) -> Any:
        """boto3's client of the bucket, with the keys that the server has."""
        return boto3.client(
            "s3",
            endpoint_url=self.s3_endpoint,
            aws_access_key_id=self.keys[0],
            aws_secret_access_key=self.keys[1],
            region_name="us-east-1",
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    def objects(self) -> list[str]:
        """Keys of all objects of the bucket."""
        pages = self.bucket().get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

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

    def _postgres(self) -> None:
        data, at, me = self.folder / "pg-data", self.folder / "pg", getpass.getuser()
        at.mkdir()
        as_other: list[str] = []
        if os.getuid() == 0:  # it refuses to run as root
            as_other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            owner = pwd.getpwnam("postgres")
            data.mkdir()
            for one in (data, at):
                os.chown(one, owner.pw_uid, owner.pw_gid)
        programs = _postgres_bin()
        _run(
            [*as_other, f"{programs}/initdb", "-D", data, "-U", "postgres", "-A", "peer"]
            + ["--no-sync", "--locale", "C", "--encoding", "UTF8"],
            cwd="/",
        )
        # On a real machine the system's user is the role; here one user plays both.
        (data / "pg_hba.conf").write_text("local all all peer map=here\n")
        lines = [f"here {me} {role}\n" for role in ("postgres", "teststrip")]
        (data / "pg_ident.conf").write_text("".join(lines))
        with (self.folder / "postgres.log").open("ab") as log:
            self._others.append(
                subprocess.Popen(
                    [*as_other, f"{programs}/postgres", "-D", str(data)]
                    + ["-c", "listen_addresses=", "-c", f"unix_socket_directories={at}"],
                    cwd="/",
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        self._await([f"{programs}/pg_isready", "-q", "-h", str(at)], "PostgreSQL")

    def _nanio(self) -> None:
        port = self.s3_endpoint.rpartition(":")[2]
        with (self.folder / "nanio.log").open("ab") as log:
            self._others.append(
                subprocess.Popen(
                    [Path(sys.executable).parent / "nanio", "serve", "--host", "127.0.0.1"]
                    + ["--port", port, "--data-dir", self.folder / "nanio"],
                    env={"PATH": os.defpath, "NANIO_ACCESS_KEY": self.keys[0]}
                    | {"NANIO_SECRET_KEY": self.keys[1]},
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", int(port)), 1).close()
                break
            time.sleep(0.1)
        self.bucket().create_bucket(Bucket=BUCKET)

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
        database.write_text(f"postgresql://teststrip@/mlflow?host={self.folder / 'pg'}\n")
        ports = ["--port", self.track_port, "--http-port", self.http_port]
        ports += ["--https-port", self.https_port, "--python", sys.executable]
        bucket: list[object] = []
        if self._own_bucket:
            keys = self.folder / "aws-credentials"
            keys.write_text(
                f"[default]\naws_access_key_id = {self.keys[0]}\n"
                f"aws_secret_access_key = {self.keys[1]}\n"
            )
            bucket = ["--artifacts", f"s3://{BUCKET}/runs", "--s3-endpoint", self.s3_endpoint]
            bucket += ["--aws-credentials", keys]
        good = self.authority.certificate(NAME)
        self.install(
            certificate=good,
            more=["--domain", NAME, "--database-file", database, *ports, *bucket],
        )

    def _await(self, command: list[str], what: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while subprocess.call(command) != 0:
            if time.monotonic() > until or self._others[-1].poll() is not None:
                log = (self.folder / "postgres.log").read_text()[-2000:]
                raise AssertionError(f"{what} does not answer:\n{log}")
            time.sleep(0.1)


@contextlib.contextmanager
def quiet_environment() -> Iterator[None]:
    """None of the caller's settings of MLflow, Teststrip and clouds within it."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("MLFLOW_", "TESTSTRIP_", "AWS_", "GOOGLE_", "PG")):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _trusting(file: Path) -> Any:
    import ssl

    return ssl.create_default_context(cafile=str(file))


def _caddy() -> str:
    return _run([REPOSITORY / "scripts/deploy_tools.sh", "caddy"]).strip().splitlines()[-1]


def _postgres_bin() -> str:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    where = found[-1] if found else Path(shutil.which("initdb") or "/usr/bin/initdb").resolve()
    return str(where.parent)


def _run(command: Any, *, rc: int = 0, **options: Any) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, **options
    )
    if done.returncode != rc:
        said = (done.stdout + done.stderr)[-4000:]
        raise AssertionError(f"{shlex.join(words)} ended with {done.returncode}:\n{said}")
    return done.stdout + done.stderr
