"""What is tried before a server starts, so that a fault is one clear message, no restart loop."""

import os
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from teststrip.errors import StorageError
from teststrip.files import storage_error
from teststrip.track.server.config import ServerConfig
from teststrip.track.server.places import Places

PATIENCE_S = 10


def check_artifacts(places: Places, config: ServerConfig) -> None:
    """Raises StorageError where the place of artifacts is not there or may not be used."""
    folder = places.artifact_folder
    if folder is not None:
        return _check_folder(folder)
    parts = urlsplit(places.artifacts)
    try:
        if parts.scheme == "s3":
            s3_client(config).list_objects_v2(
                Bucket=parts.netloc, Prefix=parts.path.strip("/"), MaxKeys=1
            )
        else:
            next(iter(gcs_bucket(parts.netloc).list_blobs(max_results=1, timeout=PATIENCE_S)), None)
    except Exception as exc:  # their clients raise errors of many libraries
        reason = str(exc).strip().partition("\n")[0][:300]
        raise StorageError(
            f"the bucket {places.artifacts} cannot be used: {type(exc).__name__}: {reason}. Does "
            "it exist, and may this server list, read, write and delete in it? "
            "TESTSTRIP_TRACK_ARTIFACTS and TESTSTRIP_TRACK_S3_ENDPOINT name it; keys come from "
            "the machine's own account or from the environment of the cloud's client"
        ) from exc


def s3_client(config: ServerConfig) -> Any:
    """A client that gives up soon."""
    import boto3  # type: ignore[import-untyped]
    from botocore.config import Config  # type: ignore[import-untyped]

    patience = Config(
        connect_timeout=PATIENCE_S, read_timeout=PATIENCE_S, retries={"total_max_attempts": 2}
    )
    region = os.environ.get("AWS_DEFAULT_REGION") or os.environ.get("AWS_REGION") or "us-east-1"
    return boto3.client("s3", endpoint_url=config.s3_endpoint, config=patience, region_name=region)


def gcs_bucket(name: str) -> Any:
    """With the machine's own account, as MLflow takes it."""
    from google.cloud import storage  # type: ignore[import-untyped]

    return storage.Client().bucket(name)


def _check_folder(folder: Path) -> None:
    probe = folder / f".probe-{uuid.uuid4().hex}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as exc:
        raise storage_error(folder, exc) from exc
