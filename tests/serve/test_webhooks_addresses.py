"""Addresses that users name: which are called, which never."""

import ipaddress
import socket

import pytest

from teststrip.errors import StorageError
from teststrip.serve.operate.addresses import Refused, check_address, is_public, resolve

pytestmark = pytest.mark.anyio

NO_ADDRESSES = (
    "",
    "example.org/hook",
    "ftp://example.org/",
    "file:///etc/passwd",
    "https://",
    "https://user:password@example.org/",
    "https://example.org\\@127.0.0.1/",
    "https://example.org/a b",
    "https://example.org/\r\nX: y",
    "https://example.org:99999/",
    "https://[::1/",
    "https://exämple.org/",
    "https://example.org/" + "a" * 2000,
)
PRIVATE = (
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",  # what clouds tell their machines' keys at
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
)


@pytest.mark.parametrize("address", NO_ADDRESSES)
async def test_what_is_no_plain_address_is_refused(address: str) -> None:
    with pytest.raises(Refused):
        check_address(address, allow_private=True)
    with pytest.raises(Refused):
        await resolve(address, allow_private=True)


@pytest.mark.parametrize("found", PRIVATE)
async def test_an_address_of_our_own_network_is_refused(found: str) -> None:
    host = f"[{found}]" if ":" in found else found

    assert not is_public(ipaddress.ip_address(found))
    with pytest.raises(Refused, match="not on the public internet"):
        check_address(f"http://{host}:8080/hook")
    with pytest.raises(Refused, match="not on the public internet"):
        await resolve(f"http://{host}:8080/hook")


@pytest.mark.parametrize("found", ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111"])
def test_an_address_of_everybody_is_public(found: str) -> None:
    assert is_public(ipaddress.ip_address(found))


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1"])
async def test_another_spelling_of_this_machine_is_refused_when_it_is_resolved(host: str) -> None:
    with pytest.raises((Refused, StorageError)):
        await resolve(f"http://{host}/hook")


async def test_one_private_address_among_public_ones_is_enough(monkeypatch) -> None:
    def both(*args, **more):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80))
            for address in ("93.184.216.34", "10.0.0.1")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)

    with pytest.raises(Refused, match=r"10\.0\.0\.1"):
        await resolve("http://both.example.org/")


async def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch) -> None:
    asked = []

    def answers(*args, **more):
        asked.append(args)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 8443))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)

    target = await resolve("https://hooks.example.org:8443/a?b=c#d")

    assert target.url == "https://93.184.216.34:8443/a?b=c"
    assert (target.host, target.name) == ("hooks.example.org:8443", "hooks.example.org")
    assert len(asked) == 1


async def test_a_name_that_is_unknown_may_be_known_later() -> None:
    with pytest.raises(StorageError, match="cannot be resolved"):
        await resolve("https://no-such-name.invalid/")
