"""Where DVC keeps a project's results: an S3 address and its server, checked without asking it."""

import re
from urllib.parse import SplitResult, urlsplit

BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def remote_fault(url: str) -> str:
    """Why `url` is no place that DVC can keep results at; empty if it is one. Shows no secret."""
    parts = _split(url)
    if parts is None or parts.scheme != "s3":
        return (
            f"remote: {_shown(url)} is not accepted; give s3://BUCKET or s3://BUCKET/FOLDER "
            "(another kind of remote: dvc remote modify storage url URL, afterwards)"
        )
    if "@" in parts.netloc:
        return "remote: holds a key; leave it out, DVC reads keys from the environment"
    if not re.fullmatch(BUCKET, parts.netloc):
        return (
            f"remote: {parts.netloc!r} is no name of a bucket; 3 to 63 lower-case letters, digits, "
            "dots and dashes are accepted"
        )
    if parts.query or parts.fragment or not _plain(parts.path):
        return f"remote: {url!r} holds more than a bucket and a folder; give s3://BUCKET/FOLDER"
    return ""


def endpoint_fault(url: str) -> str:
    """Why `url` is no address of an S3 server; empty if it is one, or none is given."""
    if not url:
        return ""
    parts = _split(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        return f"endpoint: {_shown(url)} is not accepted; give https://HOST or http://HOST:PORT"
    if "@" in parts.netloc:
        return "endpoint: holds a password; leave it out, DVC reads keys from the environment"
    if parts.query or parts.fragment or not _plain(url):
        return f"endpoint: {url!r} holds more than an address; give https://HOST[:PORT]"
    return ""


def is_clear_text(endpoint: str) -> bool:
    """Would pictures travel unencrypted over a network?"""
    parts = _split(endpoint)
    return parts is not None and parts.scheme == "http" and parts.hostname not in LOOPBACK


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for a port that is none
    except ValueError:
        return None
    return parts


def _plain(text: str) -> bool:
    return re.search(r"[^\x21-\x7e]|['\"\\]", text) is None


def _shown(url: str) -> str:
    return "an address with a key in it" if "@" in url else repr(url)
