"""Where DVC keeps results, as its configuration files say it."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from teststrip.guard import is_loopback
from teststrip.project.doctor.finding import Finding, failed, passed, warned
from teststrip.project.doctor.visit import Visit

_DVC_COMMAND = "dvc remote add -d storage s3://BUCKET/FOLDER"


@dataclass(frozen=True)
class Remote:
    """DVC's default remote. `options`: as in its configuration, secrets too, so never shown."""

    name: str
    url: str
    options: dict[str, Any]

    def __repr__(self) -> str:
        return f"Remote({self.name!r}, {self.shown!r})"

    @property
    def shown(self) -> str:
        """Its address without a password."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def is_s3(self) -> bool:
        """Whether it speaks S3."""
        return self.url.startswith("s3://")

    @property
    def bucket(self) -> str:
        """Of an S3 remote."""
        return urlsplit(self.url).netloc

    @property
    def prefix(self) -> str:
        """Folder in the bucket, with / at its end, or empty."""
        path = urlsplit(self.url).path.strip("/")
        return f"{path}/" if path else ""

    @property
    def endpoint(self) -> str:
        """Of a server that is not AWS; else empty."""
        given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return str(self.options.get("endpointurl") or given or "")


def default(root: Path) -> Remote | None:
    """As DVC reads it from all of its configuration files; None where none is named.

    Raises ValueError with DVC's words.
    """
    from dvc.config import Config  # type: ignore[import-untyped]
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]

    try:
        config = Config(str(root / ".dvc"))
    except DvcException as exc:
        raise ValueError(str(exc)) from exc
    name = str(config.get("core", {}).get("remote") or "")
    if not name:
        return None
    options = dict(config.get("remote", {}).get(name) or {})
    return Remote(name, str(options.pop("url", "")), options)


def named(visit: Visit) -> Finding:
    """Is a place named at which everybody, CI too, finds the results?"""
    try:
        remote = default(visit.root)
    except ValueError as exc:
        return failed(f"DVC's configuration: {exc}", "mend .dvc/config and .dvc/config.local")
    if remote is None:
        found = "no remote: results stay on this machine, and dvc push and pull fail"
        return warned(found, _DVC_COMMAND)
    if not remote.url:
        found = f"remote {remote.name} is the default and has no url"
        return failed(found, f"dvc remote add -f {remote.name} s3://BUCKET/FOLDER")
    return _judged(remote)


def _judged(remote: Remote) -> Finding:
    shown = f"{remote.name}: {remote.shown}"
    if remote.is_s3 and remote.endpoint:
        shown += f" at {remote.endpoint}"
        parts = urlsplit(remote.endpoint)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            return warned(f"{shown}: pictures go over the network unencrypted", "use https://")
    if remote.options.get("ssl_verify") is False:
        found = f"{shown}: certificates are not checked, so anybody between can read"
        return warned(found, f"dvc remote modify {remote.name} ssl_verify CA_FILE")
    return passed(shown)
