"""A GitLab whose certificate only its own authority vouches for, as many in companies are."""

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from teststrip.errors import StorageError
from teststrip.project.forge import place_from, post
from teststrip.project.forge.patience import Patience
from teststrip.testing.forges import GitLab

ONCE = Patience(tries=1)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that is its own authority, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def gitlab(certificate: Path) -> Iterator[GitLab]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = GitLab(tls=context)
    yield server
    server.close()


def test_an_unknown_authority_is_not_trusted(gitlab: GitLab, tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("# Better")

    with pytest.raises(StorageError, match="CERTIFICATE_VERIFY_FAILED"):
        post(place_from(gitlab.variables(tmp_path)), tmp_path, patience=ONCE)

    assert gitlab.seen == []


def test_the_runners_authority_is_trusted(
    gitlab: GitLab, certificate: Path, tmp_path: Path
) -> None:
    (tmp_path / "report.md").write_text("# Better")
    variables = gitlab.variables(tmp_path) | {"CI_SERVER_TLS_CA_FILE": str(certificate)}

    post(place_from(variables), tmp_path, patience=ONCE)

    assert len(gitlab.notes[1]) == 1
