"""What lies at the place of artifacts, counted and removed: a folder, s3:// or gs://."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from teststrip.errors import StorageError
from teststrip.files import storage_error
from teststrip.track.server.checks import gcs_bucket, s3_client
from teststrip.track.server.config import ServerConfig
from teststrip.track.server.places import Places

BATCH = 1000  # keys that S3 deletes at once


class Store(Protocol):
    """Below a prefix such as `3/0af1`, which never begins or ends with a slash."""

    def size(self, prefix: str) -> tuple[int, int]:
        """Files and bytes below it."""

    def remove(self, prefix: str) -> None:
        """All that is below it. Raises StorageError."""


def store(places: Places, config: ServerConfig) -> Store:
    """Of the server's settings."""
    if places.artifact_folder is not None:
        return FolderStore(places.artifact_folder)
    parts = urlsplit(places.artifacts)
    root = parts.path.strip("/")
    if parts.scheme == "s3":
        return S3Store(s3_client(config), parts.netloc, root)
    return GcsStore(gcs_bucket(parts.netloc), root)


class FolderStore:
    """A folder; links out of it are not followed."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def size(self, prefix: str) -> tuple[int, int]:
        """Files and bytes below it."""
        sizes = [p.lstat().st_size for p in self._below(prefix).rglob("*") if not p.is_dir()]
        return len(sizes), sum(sizes)

    def remove(self, prefix: str) -> None:
        """All that is below it. Raises StorageError."""
        place = self._below(prefix)
        try:
            if place.exists():
                shutil.rmtree(place)
        except OSError as exc:
            raise storage_error(place, exc) from exc

    def _below(self, prefix: str) -> Path:
        place = (self._root / prefix).resolve()
        if place == self._root or not place.is_relative_to(self._root):
            raise StorageError(f"{prefix}: is no place below {self._root}; nothing was removed")
        return place


class S3Store:
    """A bucket of S3 or its kin. With versioning on, removed objects stay as old versions."""

    def __init__(self, client: Any, bucket: str, root: str) -> None:
        self._client, self._bucket, self._root = client, bucket, root

    def size(self, prefix: str) -> tuple[int, int]:
        """Files and bytes below it."""
        sizes = [one["Size"] for one in self._objects(prefix)]
        return len(sizes), sum(sizes)

    def remove(self, prefix: str) -> None:
        """All that is below it. Raises StorageError."""
        keys = [{"Key": one["Key"]} for one in self._objects(prefix)]
        for start in range(0, len(keys), BATCH):
            answer = self._client.delete_objects(
                Bucket=self._bucket, Delete={"Objects": keys[start : start + BATCH], "Quiet": True}
            )
            if faults := answer.get("Errors"):
                raise StorageError(
                    f"s3://{self._bucket}: {len(faults)} objects cannot be removed: "
                    f"{faults[0].get('Key')}: {faults[0].get('Message')}"
                )

    def _objects(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2")
        for page in pages.paginate(Bucket=self._bucket, Prefix=_below(self._root, prefix)):
            yield from page.get("Contents", [])


class GcsStore:
    """A bucket of Google Cloud Storage."""

    def __init__(self, bucket: Any, root: str) -> None:
        self._bucket, self._root = bucket, root

    def size(self, prefix: str) -> tuple[int, int]:
        """Files and bytes below it."""
        sizes = [blob.size or 0 for blob in self._blobs(prefix)]
        return len(sizes), sum(sizes)

    def remove(self, prefix: str) -> None:
        """All that is below it."""
        for blob in self._blobs(prefix):
            blob.delete()

    def _blobs(self, prefix: str) -> list[Any]:
        return list(self._bucket.list_blobs(prefix=_below(self._root, prefix)))


def _below(root: str, prefix: str) -> str:
    if not prefix or ".." in prefix.split("/"):
        raise StorageError(f"{prefix!r}: is no place below the artifacts; nothing was removed")
    return f"{root}/{prefix}/" if root else f"{prefix}/"
