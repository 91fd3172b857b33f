"""A real tracking server, and something between it and the doctor that has one fault at a time."""

import datetime
import ipaddress
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from teststrip.testing.track_process import TrackProcess
from teststrip.track.doctor import Visit
from teststrip.track.rest import Login, Rest

USERS = {"few": "few-rights-here", "other": "somebody-else", "writer": "may-write-only"}


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with TrackProcess(tmp_path_factory.mktemp("track")) as started:
        with started.http() as client:
            for name, password in USERS.items():
                user = {"username": name, "password": password}
                assert client.post("/api/2.0/mlflow/users/create", json=user).status_code == 200
        for login in USERS.items():
            # Known from now on: the brake that other tests' wrong log-ins put on spares them.
            with started.http(login=login) as client:
                asked = "/api/2.0/mlflow/experiments/search?max_results=1"
                assert client.get(asked).status_code == 200
        yield started


@pytest.fixture
def visit(server):
    """A visit of an address (the server's own, if none is said), as its first user."""
    made = []

    def visiting(address=None, *, login=None, **more):
        who = Login(server.username, server.password) if login is None else login
        environ = more.pop("environ", {})
        rest = Rest(address or server.address, who, timeout_s=60, environ=environ)
        made.append(rest)
        return Visit(rest, environ=environ, **more)

    yield visiting
    for rest in made:
        rest.close()


@dataclass
class Faults:
    """What the proxy does wrong; `paths`: asked for so far, with their Authorization."""

    max_body: int | None = None
    host: str | None = None  # written over the client's
    date: str | None = None  # "" takes the header away
    answers: dict = field(default_factory=dict)  # path -> (status, headers, body)
    change: object = None  # (path, body) -> body
    login: str | None = None  # written over any log-in that came
    login_always: bool = False
    paths: list = field(default_factory=list)


class Proxy(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self):
        faults, (host, port) = self.server.faults, self.server.upstream
        path = urlsplit(self.path).path
        faults.paths.append((path, self.headers.get("Authorization")))
        length = int(self.headers.get("Content-Length") or 0)
        if faults.max_body is not None and length > faults.max_body:
            # as nginx does it: an answer, and the connection is closed unread
            self.close_connection = True
            return self.reply(413, {"Connection": "close"}, b"<h1>413 Too Large</h1>")
        body = self.rfile.read(length)
        if path in faults.answers:
            return self.reply(*faults.answers[path])
        headers = dict(self.headers)
        if faults.host:
            headers["Host"] = faults.host
        if faults.login and (faults.login_always or "Authorization" in headers):
            headers["Authorization"] = faults.login
        onward = HTTPConnection(host, port, timeout=60)
        try:
            onward.request(self.command, self.path, body or None, headers)
            came = onward.getresponse()
            data, told = came.read(), dict(came.getheaders())
        finally:
            onward.close()
        if faults.change:
            data = faults.change(path, data)
        if faults.date is not None:
            told["date"] = faults.date
        return self.reply(came.status, told, data)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = pass_on

    def reply(self, status, headers, body):
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding") and value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Listening(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # a client that goes away, or one that does not trust our certificate


@pytest.fixture
def proxy(server):
    """Starts a proxy with faults: (address, faults). `tls`: a context."""
    started = []

    def start(tls=None, **faults):
        parts = urlsplit(server.address)
        listening = Listening(("127.0.0.1", 0), Proxy)
        listening.upstream = (parts.hostname, parts.port)
        listening.faults = Faults(host=faults.pop("host", parts.netloc), **faults)
        if tls:
            # The handshake in the handler's thread, so that a refused one stops nobody else.
            listening.socket = tls.wrap_socket(
                listening.socket, server_side=True, do_handshake_on_connect=False
            )
        thread = threading.Thread(target=listening.serve_forever, args=(0.05,))
        thread.start()
        started.append((listening, thread))
        scheme = "https" if tls else "http"
        return f"{scheme}://127.0.0.1:{listening.server_port}", listening.faults

    yield start
    for listening, thread in started:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    """An own CA: `context(days, name)` is a server's TLS; `file` is what clients must trust."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    place = tmp_path_factory.mktemp("ca")
    now = datetime.datetime.now(datetime.UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Own CA")])

    def built(subject, key, signer, days, extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=100))
            .not_valid_after(now + datetime.timedelta(days=days, hours=1))
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
                critical=False,
            )
        )
        for extension, is_critical in extensions:
            builder = builder.add_extension(extension, critical=is_critical)
        return builder.sign(signer, hashes.SHA256())

    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    basic = x509.BasicConstraints(ca=True, path_length=None)
    root = built(ca_name, ca_key, ca_key, 3650, [(basic, True), (usage, True)])

    class Authority:
        file = place / "ca.pem"

        @staticmethod
        def context(days, name="127.0.0.1"):
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
            try:
                general = x509.IPAddress(ipaddress.ip_address(name))
            except ValueError:
                general = x509.DNSName(name)
            names = x509.SubjectAlternativeName([general])
            leaf = built(subject, key, ca_key, days, [(names, False)])
            file = place / f"{name}-{days}.pem"
            private = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            file.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file)
            return context

    Authority.file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    return Authority


@pytest.fixture
def everything(server):
    """What the server holds: names of living experiments, of models, and artifact files."""

    def now():
        with server.http() as client:
            living = client.post("/api/2.0/mlflow/experiments/search", json={"max_results": 1000})
            models = client.get("/api/2.0/mlflow/registered-models/search")
            rights = client.get(
                "/api/3.0/mlflow/users/permissions/list", params={"username": server.username}
            )
        names = [e["name"] for e in json.loads(living.text).get("experiments", [])]
        kept = server.home / "track"
        files = [*kept.rglob("*.png"), *kept.rglob("*.bin")]
        return names, models.json().get("registered_models", []), files, rights.json()

    return now
