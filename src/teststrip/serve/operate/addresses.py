"""Addresses that users name and we call: none may lead into our own network.

A name is resolved once, every address behind it is looked at, and the one that was looked at is
the one that is called: a name that answers differently the second time gains nothing.
"""

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from teststrip.errors import ConfigError, StorageError

MAX_CHARS = 2000
RESOLVE_S = 5.0
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(ConfigError):  # noqa: N818 - it says what was done
    """An address that leads where ours must not go; asking again changes nothing."""


@dataclass(frozen=True)
class Target:
    """Where to call: `url` goes to the address itself, `host` is the name that was asked for."""

    url: str
    host: str  # for the Host header, with its port if it was given
    name: str  # for the certificate


def check_address(address: str, allow_private: bool = False) -> str:
    """The address, if it may be one at all; names are not resolved yet. Raises Refused."""
    parts, _ = _parts(address)
    if not allow_private and (found := _literal(parts.hostname or "")) is not None:
        _check_public(found, address)
    return address


async def resolve(address: str, allow_private: bool = False) -> Target:
    """Where this address leads now. Raises Refused, and StorageError where the name is unknown."""
    parts, port = _parts(address)
    name = parts.hostname or ""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            infos = await loop.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as exc:
        raise StorageError(f"{name}: the name cannot be resolved: {exc or 'no answer'}") from exc
    found = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]
    if not allow_private:
        for one in found:
            _check_public(one, address)
    at = f"[{found[0]}]" if found[0].version == 6 else str(found[0])
    url = parts._replace(netloc=f"{at}:{port}", fragment="").geturl()
    return Target(url, parts.netloc, name)


def _parts(address: str) -> tuple[SplitResult, int]:
    """Raises Refused for what is no plain http or https address."""
    shown = repr(address[:80])
    if len(address) > MAX_CHARS or any(not 32 < ord(c) < 127 for c in address):
        raise Refused(f"address {shown}: up to {MAX_CHARS} ASCII characters, none of them blank")
    try:
        parts = urlsplit(address)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as exc:
        raise Refused(f"address {shown}: {exc}") from exc
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(f"address {shown}: must begin with https:// or http:// and name a host")
    if "@" in parts.netloc or "\\" in address:
        raise Refused(f"address {shown}: no user, password or backslash in it")
    return parts, port


def _literal(host: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None


def _check_public(found: IPAddress, address: str) -> None:
    if not is_public(found):
        raise Refused(
            f"address {address[:80]!r} leads to {found}, which is not on the public internet; "
            "TESTSTRIP_SERVICE_ALLOW_PRIVATE_WEBHOOKS=true allows that"
        )


def is_public(found: IPAddress) -> bool:
    """Is it one of everybody's addresses? IPv4 inside IPv6 is looked at as what it is."""
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if inner is None and found in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return found.is_global and not found.is_multicast and not found.is_reserved
