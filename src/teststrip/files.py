"""Files that are either whole or not there."""

import errno
import os
import secrets
import tempfile
from pathlib import Path

from teststrip.errors import StorageError


def write_atomic(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write `data` to `path` so that a crash leaves the old file or the new one, never a part.

    Raises StorageError when the disk is full or the folder may not be written to.
    """
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        partial = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(mode)
        partial.replace(path)
    except OSError as exc:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise storage_error(path, exc) from exc


def storage_error(path: Path, exc: OSError) -> StorageError:
    """Our error for a refused write, with what to do."""
    if exc.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(f"{path}: the disk is full; free some space and resume")
    if exc.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StorageError(
            f"{path}: may not be written to; choose another folder (TESTSTRIP_HOME or --out)"
        )
    return StorageError(f"{path}: cannot be written: {exc.strerror or exc}")


def make_secret(path: Path) -> bool:
    """Write a new secret of 43 characters that only its owner may read; False where one is there.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:  # another process was quicker
        return False
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(32))
    return True
