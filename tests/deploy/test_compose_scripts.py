"""The scripts and proxies of deploy/compose/, run against the real programs that they talk to."""

import contextlib
import http.server
import json
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from teststrip.serve.web.keys import KeyRing
from teststrip.testing.track_process import TrackProcess

pytestmark = pytest.mark.deploy
COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
PROGRAMS = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
SERVICE_PASSWORD = "the service's own password"


def sh(script: str, env: dict[str, str], rc: int = 0) -> str:
    done = subprocess.run(
        ["sh", COMPOSE / script],
        env={"PATH": PROGRAMS, "HOME": "/nonexistent"} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    assert done.returncode == rc, said
    return said


def test_the_store_has_three_identities_of_which_two_see_one_bucket_each(tmp_path):
    weed = tmp_path / "weed"  # says what it was started with
    weed.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nenv\n')
    weed.chmod(0o755)
    secrets = {f"S3_{who}_SECRET": who.lower() * 5 for who in ("ADMIN", "TRACK", "SERVICE")}
    config = tmp_path / "s3.json"

    said = sh("seaweedfs.sh", secrets | {"S3_CONFIG": str(config), "WEED": str(weed)})

    assert f"-s3.config={config}" in said
    assert "-s3.iam=false" in said
    assert not any(secret in said for secret in secrets.values()), "not for everybody to read"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    identities = {i["name"]: i for i in json.loads(config.read_text())["identities"]}
    assert set(identities) == {"admin", "track", "service"}
    for name, bucket in (("track", "mlflow"), ("service", "teststrip")):
        of = {action.partition(":")[2] for action in identities[name]["actions"]}
        assert of == {bucket}
        (key,) = identities[name]["credentials"]
        assert key == {"accessKey": name, "secretKey": secrets[f"S3_{name.upper()}_SECRET"]}


@pytest.mark.parametrize("missing", ["ADMIN", "TRACK", "SERVICE"])
def test_the_store_does_not_start_without_a_secret(tmp_path, missing):
    secrets = {f"S3_{who}_SECRET": "x" for who in ("ADMIN", "TRACK", "SERVICE") if who != missing}
    sh("seaweedfs.sh", secrets | {"S3_CONFIG": str(tmp_path / "s3"), "WEED": "true"}, rc=2)


@pytest.fixture
def nanio(tmp_path):
    """An S3 server that checks signatures; its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["serve", "--data-dir", tmp_path / "s3", "--host", "127.0.0.1", "--port", str(port)]
    (tmp_path / "s3").mkdir()
    process = subprocess.Popen(
        [Path(sys.executable).with_name("nanio"), *command],
        env=os.environ | {"NANIO_ACCESS_KEY": "admin", "NANIO_SECRET_KEY": "a secret"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for(port, process)
    yield f"http://127.0.0.1:{port}"
    process.kill()
    process.wait()


def wait_for(port: int, process: subprocess.Popen) -> None:
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise AssertionError(f"{process.args} ended with {process.returncode}")


def s3(endpoint: str, secret: str = "a secret"):
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="admin",
        aws_secret_access_key=secret,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
    )


def test_buckets_are_made_once_and_left_alone_afterwards(nanio):
    env = os.environ | {"S3_ENDPOINT": nanio, "BUCKETS": "mlflow,teststrip"}
    env |= {"AWS_ACCESS_KEY_ID": "admin", "AWS_SECRET_ACCESS_KEY": "a secret"}
    command = [sys.executable, COMPOSE / "buckets.py"]

    subprocess.run(command, env=env, check=True, capture_output=True)
    s3(nanio).put_object(Bucket="mlflow", Key="kept", Body=b"x")
    subprocess.run(command, env=env, check=True, capture_output=True)

    assert {b["Name"] for b in s3(nanio).list_buckets()["Buckets"]} == {"mlflow", "teststrip"}
    assert s3(nanio).get_object(Bucket="mlflow", Key="kept")["Body"].read() == b"x"
    wrong = subprocess.run(
        command, env=env | {"AWS_SECRET_ACCESS_KEY": "no"}, check=False, capture_output=True
    )
    assert wrong.returncode == 1


def test_the_first_key_is_made_once(tmp_path):
    ring = tmp_path / "keys.json"
    env = {"KEYS": str(tmp_path), "TESTSTRIP_SERVICE_KEYS_FILE": str(ring)}

    said = sh("key.sh", env)
    made = (tmp_path / "prometheus_key").read_text()
    said += sh("key.sh", env)

    assert (tmp_path / "prometheus_key").read_text() == made
    assert made not in said
    (key,) = KeyRing(ring).list()
    assert KeyRing(ring).find(made) == key
    assert key.scopes == ("admin",)


def test_accounts_are_made_and_a_password_that_changed_is_set_anew(tmp_path):
    with TrackProcess(tmp_path) as track:
        env = track.client_env | {"KEYS": str(tmp_path), "SERVICE_PASSWORD": SERVICE_PASSWORD}
        said = sh("accounts.sh", env)
        asks = (tmp_path / "track_password").read_text()
        said += sh("accounts.sh", env | {"SERVICE_PASSWORD": "another password"})

        assert (tmp_path / "track_password").read_text() == asks
        assert asks not in said
        assert "password" not in said.lower()
        experiments = "/api/2.0/mlflow/experiments/search?max_results=1"
        for name, password, status in (
            ("service", "another password", 200),
            ("service", SERVICE_PASSWORD, 401),
            ("prometheus", asks, 200),
        ):
            with track.http(login=(name, password)) as client:
                assert client.get(experiments).status_code == status, (name, password)
        with track.http(login=("prometheus", asks)) as client:
            assert "teststrip_track_requests_total" in client.get("/metrics").text
            new = {"username": "another", "password": "its own password"}
            assert client.post("/api/2.0/mlflow/users/create", json=new).status_code == 403


class Told(http.server.BaseHTTPRequestHandler):
    """An application that says what it was asked."""

    def do_GET(self) -> None:
        body = json.dumps({"path": self.path, "headers": dict(self.headers.items())}).encode()
        self.send_response(200)
        self.send_header("Set-Cookie", "session=1; HttpOnly")
        self.send_header("Server", "told")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_PUT = do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def told():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Told) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def caddy(tool, tool_path, tmp_path):
    """Runs a Caddyfile at a free port of this machine; its port. Its names and TLS are the file's.

    Only where it listens is changed, in what Caddy itself makes of the file.
    """
    running = []

    def run(file: str, env: dict[str, str]) -> int:
        given = {"XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)} | env
        done = tool(
            "caddy", "adapt", "--config", COMPOSE / file, "--adapter", "caddyfile", env=given
        )
        made = json.loads(done.stdout)
        held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        port, other = (one.getsockname()[1] for one in held)
        for one in held:
            one.close()
        (server,) = made["apps"]["http"]["servers"].values()
        is_tls = server["listen"] == [":443"]
        assert is_tls or server["listen"] == [":8333"]
        server["listen"] = [f"127.0.0.1:{port}"]
        if is_tls:
            made["apps"]["http"] |= {"https_port": port, "http_port": other}
        config = tmp_path / f"{file}.json"
        config.write_text(json.dumps(made))
        with (tmp_path / f"{file}.log").open("w") as log:
            process = subprocess.Popen(
                [tool_path("caddy"), "run", "--config", config],
                env=os.environ | given,
                stdout=log,
                stderr=log,
            )
        running.append(process)
        wait_for(port, process)
        return port

    yield run
    for process in running:
        process.terminate()
        process.wait()


class Named(httpx.HTTPTransport):
    """Reaches a name at this machine, wherever it may lead: not every machine knows *.localhost."""

    def __init__(self, name: str, context: ssl.SSLContext) -> None:
        super().__init__(verify=context)
        self._name = name

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions["sni_hostname"] = self._name
        return super().handle_request(request)


@contextlib.contextmanager
def door(tmp_path: Path, port: int, name: str) -> Iterator[httpx.Client]:
    """A client that reaches NAME.localhost at this port, and trusts Caddy's authority alone."""
    root = tmp_path / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    while not root.exists():
        time.sleep(0.02)
    transport = Named(f"{name}.localhost", ssl.create_default_context(cafile=root))
    with httpx.Client(
        base_url=f"https://127.0.0.1:{port}",
        headers={"Host": f"{name}.localhost:{port}"},
        transport=transport,
        timeout=60,
    ) as client:
        while not _has_certificate(client):
            time.sleep(0.05)
        yield client


def _has_certificate(client: httpx.Client) -> bool:
    """It is made after Caddy began to listen."""
    try:
        client.get("/")
    except httpx.ConnectError as exc:
        if "SSL" not in str(exc):
            raise
        return False
    return True


@pytest.mark.parametrize("kind", ["public", "internal", "files"])
def test_caddy_takes_its_file_with_each_kind_of_certificate(tool, kind):
    env = {"DOMAIN": "example.org", "TLS": kind}
    done = tool("caddy", "adapt", "--config", COMPOSE / "Caddyfile", env=env)
    made = json.loads(done.stdout)

    (server,) = made["apps"]["http"]["servers"].values()
    names = {name for route in server["routes"] for m in route["match"] for name in m["host"]}
    assert names == {f"{n}.example.org" for n in ("track", "web", "studio", "files", "grafana")}
    assert made["admin"] == {"disabled": True}
    if kind == "files":
        assert "/certs/cert.pem" in done.stdout
    if kind == "internal":
        assert '"module":"internal"' in done.stdout.replace(" ", "")
    if kind == "public":
        assert "internal" not in json.dumps(made["apps"].get("tls", {}))
        tool("caddy", "validate", "--config", COMPOSE / "Caddyfile", env=env)
    assert "not formatted" not in done.stderr


def test_the_door_leads_each_name_to_its_application_and_shows_no_numbers(caddy, told, tmp_path):
    upstreams = dict.fromkeys(("TRACK", "WEB", "STUDIO", "S3", "GRAFANA"), told)
    port = caddy("Caddyfile", {"DOMAIN": "localhost", "TLS": "internal"} | upstreams)

    for name in ("track", "web", "studio", "grafana"):
        with door(tmp_path, port, name) as client:
            answer = client.get("/a/page", headers={"X-Forwarded-For": "6.6.6.6"})
            seen = {k.lower(): v for k, v in answer.json()["headers"].items()}
            assert answer.json()["path"] == "/a/page"
            assert seen["host"] == f"{name}.localhost:{port}", "the applications check it"
            assert seen["x-forwarded-proto"] == "https"
            assert seen["x-forwarded-for"] == "127.0.0.1", "what a stranger claims is dropped"
            assert answer.headers["strict-transport-security"]
            assert "server" not in answer.headers
            if name != "grafana":  # which knows that it is behind TLS
                assert answer.headers["set-cookie"].endswith("; Secure")
            for path in ("/metrics", "/metrics/", "/metrics/x"):
                assert client.get(path).status_code == 404
    with door(tmp_path, port, "files") as client:
        assert client.get("/teststrip/a.png").status_code == 403
        assert client.put("/teststrip/a.png?X-Amz-Signature=x").status_code == 403
        assert client.get("/teststrip/a.png?X-Amz-Signature=x").status_code == 200
    log = (tmp_path / "Caddyfile.log").read_text()
    assert "X-Amz-Signature=hidden" in log
    assert "X-Amz-Signature=x" not in log


def test_a_signed_address_goes_through_both_proxies_and_a_forged_one_does_not(
    caddy, nanio, tmp_path
):
    s3(nanio).create_bucket(Bucket="teststrip")
    s3(nanio).put_object(Bucket="teststrip", Key="a.png", Body=b"a picture")
    gate = caddy("s3.Caddyfile", {"SEAWEEDFS": nanio.removeprefix("http://")})
    env = {"DOMAIN": "localhost", "TLS": "internal", "S3": f"127.0.0.1:{gate}"}
    port = caddy("Caddyfile", env)

    through = s3(f"http://127.0.0.1:{gate}")  # as web, worker and track do
    through.put_object(Bucket="teststrip", Key="b.png", Body=b"b" * 100_000)
    assert through.get_object(Bucket="teststrip", Key="b.png")["Body"].read() == b"b" * 100_000
    with pytest.raises(ClientError, match="Signature"):
        s3(f"http://127.0.0.1:{gate}", secret="no").get_object(Bucket="teststrip", Key="b.png")

    address = s3(f"https://files.localhost:{port}").generate_presigned_url(
        "get_object", Params={"Bucket": "teststrip", "Key": "a.png"}
    )
    address = address.removeprefix(f"https://files.localhost:{port}")
    with door(tmp_path, port, "files") as client:
        assert client.get(address).content == b"a picture"
        assert client.get(address.replace("a.png", "b.png")).status_code == 403
        forged = re.sub("X-Amz-Signature=.", "X-Amz-Signature=0", address)
        assert client.get(forged + "0").status_code == 403
