"""One file with all that the embedded store holds: both databases and the folder of artifacts.

Made while the server runs: SQLite's own online copy first, then the artifacts, so that nothing that
the databases know is missing. Passwords are in it as hashes; made secrets are not.
"""

import hashlib
import io
import json
import os
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip import __version__
from teststrip.errors import ConfigError, StorageError
from teststrip.files import storage_error
from teststrip.track.server.places import Places, shown, sqlite_path
from teststrip.track.server.schema import copy

MANIFEST, RUNS, USERS, ARTIFACTS = "manifest.json", "mlflow.db", "login.db", "artifacts"
KIND = "teststrip track backup"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Saved:
    """What a backup holds."""

    file: Path
    made: str  # UTC
    files: int
    bytes: int


def check_embedded(places: Places) -> None:
    """Raises ConfigError, with what to do instead, where the store is not on this machine alone."""
    if places.is_embedded:
        return
    raise ConfigError(
        "backup and restore are for the embedded store (SQLite and a folder)",
        [
            f"runs: {shown(places.backend)}; users: {shown(places.login)}: "
            "save PostgreSQL with pg_dump --format=custom, one file for each database, and bring "
            "it back with pg_restore --clean",
            f"artifacts: {places.artifacts}: switch on the bucket's versioning, or copy the folder",
        ],
    )


def save(places: Places, file: Path) -> Saved:
    """Write the backup; `file` is there whole or not at all. Raises ConfigError, StorageError."""
    check_embedded(places)
    if file.exists():
        raise ConfigError(f"{file}: is there already; give another name")
    if file.resolve().is_relative_to(places.folder):
        raise ConfigError(f"{file}: lies in what is saved; give a place outside {places.folder}")
    if not sqlite_path(places.backend).exists():
        raise StorageError(f"{sqlite_path(places.backend)}: no such file; nothing to save")
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    with _border(file), _partial(file) as partial:
        with tarfile.open(partial, "w:gz" if file.suffix in (".gz", ".tgz") else "w") as tar:
            held = dict(_parts(places, tar, file.parent))
            about = {"kind": KIND, "teststrip": __version__, "made": made, "files": held}
            data = json.dumps(about, indent=1).encode()
            info = tarfile.TarInfo(MANIFEST)
            info.size, info.mtime = len(data), int(time.time())
            tar.addfile(info, io.BytesIO(data))
        with partial.open("rb") as whole:
            os.fsync(whole.fileno())
        partial.replace(file)
    return Saved(file, made, len(held), sum(one["bytes"] for one in held.values()))


def _parts(places: Places, tar: tarfile.TarFile, beside: Path) -> Iterator[tuple[str, Any]]:
    for name, uri in ((RUNS, places.backend), (USERS, places.login)):
        if not sqlite_path(uri).exists():
            continue  # without a log-in nobody made users
        with tempfile.TemporaryDirectory(dir=beside, prefix=".teststrip-") as folder:
            copied = Path(folder, name)
            copy(sqlite_path(uri), copied)
            yield name, _add(tar, copied, name)
    root = places.artifact_folder
    if root is None:
        return
    for path in sorted(root.rglob("*")):
        if path.is_file() and not path.is_symlink():
            name = f"{ARTIFACTS}/{path.relative_to(root).as_posix()}"
            try:
                yield name, _add(tar, path, name)
            except FileNotFoundError:
                continue  # an upload's own file, which has its name by now


def _add(tar: tarfile.TarFile, path: Path, name: str) -> dict[str, Any]:
    with path.open("rb") as file:
        info = tar.gettarinfo(fileobj=file, arcname=name)
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        reading = _Hashed(file)
        tar.addfile(info, reading)
    return {"bytes": info.size, "sha256": reading.hash.hexdigest()}


class _Hashed:
    """A file that is hashed while it is read."""

    def __init__(self, file: Any) -> None:
        self._file, self.hash = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._file.read(size)
        self.hash.update(data)
        return data


@contextmanager
def _partial(file: Path) -> Iterator[Path]:
    """A file beside `file` that only its owner may read; gone at the end."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _border(file: Path) -> Iterator[None]:
    import sqlite3

    try:
        yield
    except StorageError:
        raise
    except OSError as exc:
        raise storage_error(Path(exc.filename or file), exc) from exc
    except sqlite3.Error as exc:
        raise StorageError(f"the databases cannot be copied: {exc}") from exc
