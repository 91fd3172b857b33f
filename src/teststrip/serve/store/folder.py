"""FolderStore: objects are files of a folder on this machine, or on a disk that all can reach."""

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import islice
from pathlib import Path

from teststrip.errors import StorageError
from teststrip.files import storage_error
from teststrip.serve.store.base import Stored
from teststrip.serve.store.keys import check_key, check_prefix

PART_BYTES = 256 * 1024
PAGE = 500  # files told of between two looks at other work


class FolderStore:
    """`ArtifactStore` under `root`. An object is linked into its place when it is whole on disk.

    Content type and `meta` are not kept beside the file: a picture holds its settings inside.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    async def open(self) -> None:
        """Make the folder. Raises StorageError where it cannot be written to."""
        await asyncio.to_thread(self._probe)

    async def close(self) -> None:
        """Nothing is held."""

    async def put(
        self,
        key: str,
        data: bytes,
        content_type: str,
        meta: Mapping[str, str] | None = None,
        *,
        replace: bool = False,
    ) -> bool:
        """Write an object; False where it was there (then it stays, unless `replace`)."""
        return await asyncio.to_thread(self._put, self._path(key), data, replace)

    async def get(self, key: str) -> bytes | None:
        """Its bytes, or None where it is not there."""
        return await asyncio.to_thread(_read, self._path(key))

    async def size(self, key: str) -> int | None:
        """Bytes, or None where it is not there."""
        return await asyncio.to_thread(_size, self._path(key))

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Its bytes in parts. Raises StorageError also where it is not there."""
        path = self._path(key)
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except FileNotFoundError:
            raise StorageError(f"store: {key} is not there") from None
        except OSError as exc:
            raise _unreadable(path, exc) from exc
        try:
            while part := await asyncio.to_thread(file.read, PART_BYTES):
                yield part
        except OSError as exc:
            raise _unreadable(path, exc) from exc
        finally:
            file.close()

    async def url(self, key: str, ttl_s: float, file_name: str = "") -> str | None:
        """None: the web hands files on itself."""
        return None

    async def delete(self, prefix: str) -> int:
        """Remove all objects below `prefix`; how many there were. Raises StorageError for ""."""
        if not (checked := check_prefix(prefix)):
            raise StorageError("store: delete needs a prefix; all of it is never removed at once")
        return await asyncio.to_thread(_delete, self._root / checked)

    async def below(self, prefix: str) -> AsyncIterator[Stored]:
        """All objects in the folder `prefix` and deeper."""
        found = self._below(self._root / check_prefix(prefix))
        while page := await asyncio.to_thread(lambda: list(islice(found, PAGE))):
            for stored in page:
                yield stored

    async def is_ready(self) -> bool:
        """Can it be written to now?"""
        try:
            await asyncio.to_thread(self._probe)
        except StorageError:
            return False
        return True

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _probe(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._root) as file:
                file.write(b"ready")
        except OSError as exc:
            raise storage_error(self._root, exc) from exc

    def _put(self, path: Path, data: bytes, replace: bool) -> bool:
        if not replace and path.exists():
            return False
        try:
            try:
                return _write(path, data, replace)
            except FileNotFoundError:  # a sweep took the empty folder away: once more
                return _write(path, data, replace)
        except OSError as exc:
            raise storage_error(path, exc) from exc

    def _below(self, folder: Path) -> Iterator[Stored]:
        for path in _files(folder):
            if path.name.startswith("."):  # not whole yet
                continue
            with contextlib.suppress(FileNotFoundError):  # gone since
                found = path.stat()
                key = path.relative_to(self._root).as_posix()
                yield Stored(key, found.st_size, found.st_mtime)


def _write(path: Path, data: bytes, replace: bool) -> bool:
    """Whole or not there: written beside, on disk for sure, then put in place in one move."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)
        if replace:
            was_there = path.exists()
            partial.replace(path)
            return not was_there
        return _link(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _link(partial: Path, path: Path) -> bool:
    """Two writers at once: the first wins."""
    try:
        os.link(partial, path)
    except FileExistsError:
        return False
    except OSError:  # a disk without links; the same key has the same bytes, so no harm is done
        partial.replace(path)
    return True


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise _unreadable(path, exc) from exc


def _files(folder: Path) -> Iterator[Path]:
    """A file itself, or all in a folder; links are not followed."""
    if folder.is_file():
        yield folder
    for at, _, names in os.walk(folder):
        yield from (Path(at) / name for name in sorted(names))


def _delete(folder: Path) -> int:
    count = 0
    try:
        for path in list(_files(folder)):
            path.unlink(missing_ok=True)
            count += not path.name.startswith(".")
    except OSError as exc:
        raise StorageError(f"{folder}: cannot be removed: {exc.strerror or exc}") from exc
    for at, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # somebody wrote into it just now: it stays
            Path(at).rmdir()
    return count


def _unreadable(path: Path, exc: OSError) -> StorageError:
    return StorageError(f"{path}: cannot be read: {exc.strerror or exc}")
