"""Which store a service has: by its settings alone."""

from pathlib import Path

from teststrip.errors import ConfigError
from teststrip.serve.config import ServiceConfig
from teststrip.serve.store.base import ArtifactStore
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.store.keys import check_prefix


def store_of(config: ServiceConfig, home: Path) -> ArtifactStore:
    """S3, a folder, or <home>/service/images. Raises ConfigError, MissingExtra."""
    where = config.store
    if not where.startswith("s3://"):
        if "://" in where:
            raise ConfigError(
                f"TESTSTRIP_SERVICE_STORE={where}: accepted: s3://bucket/prefix, or a folder"
            )
        return FolderStore(Path(where) if where else home / "service" / "images")
    bucket, _, prefix = where.removeprefix("s3://").partition("/")
    if not bucket:
        raise ConfigError(f"TESTSTRIP_SERVICE_STORE={where}: names no bucket: s3://bucket/prefix")
    try:
        check_prefix(prefix)
    except OSError as exc:
        raise ConfigError(f"TESTSTRIP_SERVICE_STORE={where}: {exc}") from exc
    from teststrip.serve.store.s3 import S3Store

    return S3Store(
        bucket,
        prefix,
        endpoint=config.s3_endpoint,
        public_endpoint=config.s3_public_endpoint,
        region=config.s3_region,
    )
