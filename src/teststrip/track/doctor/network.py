"""The way to the server: name, TLS, whether it lives, what it answers to, clock, speed."""

import ipaddress
import socket
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from teststrip.track.doctor.finding import Finding, failed, passed, skipped, warned
from teststrip.track.doctor.visit import Visit
from teststrip.track.rest import API, NOBODY, Refused, Rest, certificates

PATIENCE_S = 90.0  # a server that was scaled to zero starts meanwhile
WARN_DAYS = 21.0  # renewals run 30 days before the end; by then one has failed
SKEW_WARN_S, SKEW_FAIL_S = 5.0, 300.0  # S3 refuses signatures that are 15 minutes off
CALLS, SLOW_S = 20, 0.5
LISTING = f"{API}/experiments/search"
# X509_V_ERR_*: what OpenSSL found first
_EXPIRED, _NOT_YET, _OTHER_NAME = 10, 9, (62, 64)


def address(visit: Visit) -> Finding:
    """Does its name lead somewhere, and may a password go there?"""
    parts = urlsplit(visit.rest.address)
    host = parts.hostname or ""
    if _by_proxy(visit.rest):
        return passed(f"{host}, through a proxy (HTTPS_PROXY, HTTP_PROXY)")
    try:
        found = socket.getaddrinfo(host, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError as exc:
        return failed(f"{host}: {exc}", "is the name spelled right, and in the DNS?")
    numbers = sorted({str(entry[4][0]) for entry in found})
    shown = f"{host} is {', '.join(numbers)}"
    if parts.scheme == "https" or all(_ip(n).is_loopback for n in numbers):
        return passed(shown)
    if all(_ip(n).is_private or _ip(n).is_loopback for n in numbers):
        mend = "whoever is in that network can read the password: put TLS before the server"
        return warned(f"{shown}, without TLS", mend)
    mend = "the password would travel readable: use https:// (Caddy does it by itself)"
    return failed(f"{shown}, without TLS", mend)


def certificate(visit: Visit) -> Finding:
    """Is it who it says: chain, host name, and for how long yet?"""
    parts = urlsplit(visit.rest.address)
    if parts.scheme == "http":
        return skipped("plain http")
    if _by_proxy(visit.rest):
        return skipped("a proxy is on the way; the first request checks it")
    host = parts.hostname or ""
    trusted = ssl.create_default_context(cafile=certificates(visit.environ))
    try:
        with (
            socket.create_connection((host, parts.port or 443), timeout=PATIENCE_S) as plain,
            trusted.wrap_socket(plain, server_hostname=host) as channel,
        ):
            facts, spoken = channel.getpeercert() or {}, channel.version()
    except ssl.SSLCertVerificationError as exc:
        return failed(f"{host}: {exc.verify_message}", _mend_certificate(exc.verify_code, host))
    except OSError as exc:
        return failed(
            f"{host}: no TLS: {exc}", "does the port speak TLS, and does anybody listen there?"
        )
    end = ssl.cert_time_to_seconds(str(facts["notAfter"]))
    days = (end - time.time()) / 86400
    shown = f"{spoken}, valid until {datetime.fromtimestamp(end, UTC):%Y-%m-%d} ({days:.0f} days)"
    if days < WARN_DAYS:
        return warned(shown, "renew it; whoever does that by itself has failed to so far")
    return passed(shown)


def health(visit: Visit) -> Finding:
    """Does it live? The first answer may take as long as a cold start."""
    started = time.monotonic()
    answer = visit.rest.ask("GET", "/health", login=NOBODY, timeout_s=PATIENCE_S)
    took = f"{time.monotonic() - started:.2f} s"
    if answer.is_redirect:
        to = urlsplit(answer.headers.get("Location", ""))
        where = f"{to.scheme}://{to.netloc}" if to.netloc else to.path
        mend = "use that address, or a token (MLFLOW_TRACKING_TOKEN) where it is a log-in page"
        return failed(f"/health leads on to {where}", mend)
    if answer.status_code != 200 or answer.text.strip() != "OK":
        what = f"/health answers {answer.status_code} {answer.text.strip()[:60]!r}"
        return failed(what, "is this the tracking server's address, with its path if it has one?")
    return passed(f"first answer after {took}")


def host(visit: Visit) -> Finding:
    """Is it willing to be called by this name?"""
    answer = visit.rest.ask("GET", LISTING, params={"max_results": 1})
    name = urlsplit(visit.rest.address).netloc
    if answer.status_code in (403, 421) and "Host" in answer.text:
        mend = (
            f"on the server: TESTSTRIP_TRACK_PUBLIC_URL={visit.rest.address}, or add {name} to "
            "TESTSTRIP_TRACK_ALLOW_HOSTS (MLflow: --allowed-hosts); a proxy must pass the Host on"
        )
        return failed(f"it refuses to be called {name}", mend)
    return passed(f"answers to {name}")


def other_host(visit: Visit) -> Finding:
    """A name that is not its own must be refused: DNS rebinding."""
    answer = visit.rest.ask(
        "GET", LISTING, params={"max_results": 1}, headers={"Host": "doctor.teststrip.invalid"}
    )
    if answer.status_code != 200 or not answer.text.startswith("{"):
        return passed(f"a false Host header is refused ({answer.status_code})")
    mend = "any web page can reach it by DNS rebinding: set TESTSTRIP_TRACK_PUBLIC_URL"
    return warned("answers to a false Host header", mend)


def other_origin(visit: Visit) -> Finding:
    """Writes that another site's page sends must be refused."""
    answer = visit.rest.ask(
        "POST",
        f"{API}/runs/search",
        json={"max_results": 1, "experiment_ids": []},
        headers={"Origin": "https://doctor.teststrip.invalid"},
    )
    if answer.status_code == 403:
        return passed("requests of other sites' pages are refused")
    mend = "do not disable MLflow's security middleware; no * in its CORS origins"
    return warned(f"a request of another site's page is answered ({answer.status_code})", mend)


def versions(visit: Visit) -> Finding:
    """Do server and client speak the same?"""
    answer = visit.rest.ask("GET", "/version")
    theirs = answer.text.strip()[:30] if answer.status_code == 200 else ""
    if not theirs[:1].isdigit():
        return warned("the server does not tell its version", "is this MLflow?")
    ours = next((v for v in map(_installed, ("mlflow", "mlflow-skinny")) if v), "")
    if not ours:
        return warned(f"server {theirs}, no client here", "pip install 'teststrip[track]'")
    shown = f"server {theirs}, client {ours}"
    if theirs.split(".")[0] != ours.split(".")[0]:
        return failed(shown, "another major version: install the same on both sides")
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        return warned(shown, "update the older side; the server's database: track migrate")
    return passed(shown)


def clock(visit: Visit) -> Finding:
    """Do both clocks agree? To the second that the Date header tells, and half the way there."""
    before = time.time()
    answer = visit.rest.ask("GET", "/health", login=NOBODY)
    middle = (before + time.time()) / 2
    try:
        theirs = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return warned("no Date header came", "a proxy takes it away; nothing to do")
    # The header's second began up to one second ago.
    off = theirs - middle + 0.5
    shown = f"server {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this machine"
    if abs(off) > SKEW_FAIL_S:
        return failed(shown, "set both clocks (timedatectl set-ntp true): times of runs are wrong")
    if abs(off) > SKEW_WARN_S:
        return warned(shown, "set both clocks (timedatectl set-ntp true)")
    return passed("same time, to a second or two")


def latency(visit: Visit) -> Finding:
    """How long a small call takes, on a kept-alive connection."""
    seconds = []
    for _ in range(CALLS):
        started = time.monotonic()
        answer = visit.rest.ask("GET", LISTING, params={"max_results": 1})
        seconds.append(time.monotonic() - started)
        if answer.status_code != 200:
            raise Refused(f"GET experiments/search: {answer.status_code}", answer.status_code)
    seconds.sort()
    middle, slow = seconds[len(seconds) // 2], seconds[int(0.95 * (len(seconds) - 1))]
    shown = f"p50 {1000 * middle:.0f} ms, p95 {1000 * slow:.0f} ms of {CALLS} small calls"
    if middle > SLOW_S:
        mend = "far away, busy, or every request hashes the password (auth_cache_ttl_seconds)?"
        return warned(shown, mend)
    return passed(shown)


def _by_proxy(rest: Rest) -> bool:
    from requests.utils import get_environ_proxies, select_proxy

    return bool(select_proxy(rest.address, get_environ_proxies(rest.address)))


def _ip(number: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(number.partition("%")[0])


def _mend_certificate(code: int, name: str) -> str:
    if code == _EXPIRED:
        return "it has expired: renew it (does the renewal run, is port 80 or 443 reachable?)"
    if code == _NOT_YET:
        return "it is not valid yet: is this machine's clock right?"
    if code in _OTHER_NAME:
        return f"it is for another name: ask by that one, or get a certificate for {name}"
    return (
        "nobody this machine trusts has signed it: for an own CA set "
        "MLFLOW_TRACKING_SERVER_CERT_PATH to its file (all of MLflow's clients read it)"
    )


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
