"""The remote asked: S3 or what speaks like it, with the settings that DVC will use."""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from teststrip.project.doctor.finding import Finding, failed, passed, skipped, warned
from teststrip.project.doctor.remote import Remote, default
from teststrip.project.doctor.visit import Visit

_CONNECT_S, _READ_S = 10, 30
_KEYS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or: dvc remote modify --local {name} "
    "secret_access_key '...' (and access_key_id)"
)
# code of an S3 error -> what it means, what to do
_MEANING = {
    "InvalidAccessKeyId": ("the access key is not known there", _KEYS),
    "SignatureDoesNotMatch": ("the secret key is wrong", _KEYS),
    "ExpiredToken": ("the log-in has expired", "get a new one, then set AWS_* again"),
    "InvalidToken": ("the session token is wrong", "unset AWS_SESSION_TOKEN, or set it anew"),
    "AccessDenied": ("this user may not", "give it rights: list, get, put, delete in this folder"),
    "403": ("this user may not", "give it rights: list, get, put, delete in this folder"),
    "NoSuchBucket": ("there is no such bucket", "make the bucket, or mend the remote's url"),
    "404": ("there is no such bucket", "make the bucket, or mend the remote's url"),
    "RequestTimeTooSkewed": ("this machine's clock is wrong", "timedatectl set-ntp true"),
    "PermanentRedirect": ("the bucket is elsewhere", "dvc remote modify {name} region REGION"),
    "AuthorizationHeaderMalformed": ("another region", "dvc remote modify {name} region REGION"),
}


def login(visit: Visit) -> Finding:
    """Does it answer, and may we in?"""
    remote = default(visit.root)
    if remote is None:
        return skipped("no remote")
    if not remote.is_s3:
        return skipped(f"{remote.shown} is not S3; dvc push will tell")
    with _asking(remote) as (s3, trouble):
        s3().list_objects_v2(Bucket=remote.bucket, Prefix=remote.prefix, MaxKeys=1)
    return trouble[0] if trouble else passed("it answers and knows this user")


def write(visit: Visit) -> Finding:
    """May we write, read and delete there? With a small object, which is taken away again."""
    remote = default(visit.root)
    if remote is None:
        return skipped("no remote")
    key, sent = f"{remote.prefix}teststrip-doctor-{secrets.token_hex(6)}", secrets.token_bytes(64)
    came = b""
    place: dict[str, Any] = {"Bucket": remote.bucket, "Key": key}
    with _asking(remote) as (s3, trouble):
        client = s3()
        client.put_object(**place, Body=sent)
        try:
            came = client.get_object(**place)["Body"].read()
        finally:
            client.delete_object(**place)
    if trouble:
        return trouble[0]
    if came != sent:
        return failed("an object comes back other than it was sent", "does a proxy change it?")
    return passed("an object was written, read and deleted")


def strangers(visit: Visit) -> Finding:
    """Can anybody without a log-in read what lies there?"""
    remote = default(visit.root)
    if remote is None:
        return skipped("no remote")
    with _asking(remote, anonymous=True) as (s3, trouble):
        s3().list_objects_v2(Bucket=remote.bucket, Prefix=remote.prefix, MaxKeys=1)
    if not trouble:
        found = "anybody can list the bucket without a log-in: pictures and models lie open"
        return failed(found, "close it: block public access in the bucket's settings")
    return passed("nobody gets in without a log-in")


def pushed(visit: Visit) -> Finding:
    """Is everything there that this commit names?"""
    said = visit.dvc("status", "--cloud", "--json")
    try:
        found = json.loads(said.out) if said.code == 0 else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return warned(f"dvc status --cloud: {said.error}", "dvc push will tell")
    new = [name for name, how in found.items() if how == "new"]
    gone = [name for name, how in found.items() if how in ("deleted", "missing")]
    if gone:
        return warned(f"{len(gone)} results are not here", "dvc pull, or dvc repro", gone)
    if new:
        return warned(f"{len(new)} results are only on this machine", "dvc push", new)
    return passed("the remote has everything")


@contextmanager
def _asking(remote: Remote, *, anonymous: bool = False) -> Iterator[tuple[Any, list[Finding]]]:
    """(makes a client, what went wrong): errors of S3 and of the network become a finding."""
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    trouble: list[Finding] = []
    opened: list[Any] = []

    def s3() -> Any:
        opened.append(_client(remote, anonymous))
        return opened[-1]

    try:
        yield s3, trouble
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        meaning, mend = _MEANING.get(code, ("it refused", "see the server's log"))
        where = remote.endpoint or "AWS"
        found = f"{where}: {meaning} ({exc.operation_name}: {code})"
        trouble.append(failed(found, mend.format(name=remote.name)))
    except (BotoCoreError, ValueError) as exc:
        trouble.append(_no_answer(remote, exc))
    finally:
        for client in opened:
            client.close()


def _no_answer(remote: Remote, exc: Exception) -> Finding:
    kind = type(exc).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"):
        return failed("no log-in is known here", _KEYS.format(name=remote.name))
    if kind == "ProfileNotFound":
        return failed(str(exc), f"dvc remote modify --local {remote.name} profile NAME")
    if kind == "SSLError":
        mend = f"an own CA: dvc remote modify {remote.name} ssl_verify CA_FILE"
        return failed(f"{remote.endpoint or 'AWS'}: its certificate is not trusted", mend)
    if kind in ("ParamValidationError", "InvalidEndpointError", "ValueError"):
        mend = f"dvc remote modify {remote.name} url s3://BUCKET/FOLDER (and endpointurl)"
        return failed(f"{remote.shown}: {' '.join(str(exc).split())[:200]}", mend)
    mend = "is the server up, the address right, and the network there? Nothing is lost meanwhile"
    return failed(f"{remote.endpoint or 'AWS'} does not answer ({kind})", mend)


def _client(remote: Remote, anonymous: bool) -> Any:
    import boto3  # type: ignore[import-untyped]
    from botocore import UNSIGNED  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]
    from botocore.session import Session  # type: ignore[import-untyped]

    given = remote.options
    base = Session(profile=given.get("profile"))
    if given.get("credentialpath"):
        base.set_config_variable("credentials_file", str(given["credentialpath"]))
    settings: dict[str, Any] = {
        "connect_timeout": _CONNECT_S,
        "read_timeout": _READ_S,
        "retries": {"total_max_attempts": 2},
    }
    if anonymous:
        settings["signature_version"] = UNSIGNED
    return boto3.Session(botocore_session=base).client(
        "s3",
        endpoint_url=remote.endpoint or None,
        region_name=given.get("region") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        aws_access_key_id=given.get("access_key_id"),
        aws_secret_access_key=given.get("secret_access_key"),
        aws_session_token=given.get("session_token"),
        verify=given.get("ssl_verify"),
        use_ssl=given.get("use_ssl", True),
        config=Config(**settings),
    )
