"""What every web app of ours asks of a request: our host, our pages, our form; and its headers.

Cross-site requests are refused three times over: the Host header must be ours (against DNS
rebinding), `Sec-Fetch-Site` or `Origin` must not name another site, and a form must hold the token
of a cookie that other sites can neither read nor set (OWASP: double submit).
"""

import hmac
import ipaddress
import secrets
from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

CSRF = "teststrip_csrf"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def is_loopback(host: str) -> bool:
    """127.0.0.0/8, ::1 or localhost."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def is_our_host(header: str, hosts: Collection[str]) -> bool:
    """Does a Host header name this machine, or one of `hosts` (lower case; "*" is any)?"""
    try:
        host = (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:  # half an IPv6 address
        return False
    return "*" in hosts or is_loopback(host) or host in hosts


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Was this request sent by a page of another site? `headers` by lower-case name."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = headers.get("origin")
    try:
        return origin is not None and urlsplit(origin).netloc != headers.get("host")
    except ValueError:
        return True


def token_of(cookies: Mapping[str, str]) -> tuple[str, bool]:
    """The form token of this visitor, and whether it is fresh: its cookie must be set."""
    token = cookies.get(CSRF, "")
    return (token, False) if len(token) == 43 else (secrets.token_urlsafe(32), True)


def is_token(given: str | None, cookies: Mapping[str, str]) -> bool:
    """Is what a form or the X-CSRF-Token header holds the token of the visitor's cookie?"""
    cookie = cookies.get(CSRF, "")
    return bool(cookie) and hmac.compare_digest((given or "").encode(), cookie.encode())
