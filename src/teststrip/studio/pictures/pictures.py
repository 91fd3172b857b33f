"""Pictures: originals and thumbnails. Thumbnails are made once and kept by content."""

import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from teststrip.errors import StorageError, StudyError
from teststrip.files import storage_error
from teststrip.studio.pictures.making import SIZES, thumbnails
from teststrip.studio.pictures.store import MOST_BYTES, Broken, Fetch, Store, Vanished

if TYPE_CHECKING:
    from teststrip.studio.index import Index

log = logging.getLogger(__name__)
MAKERS = 2
MOST_REMEMBERED = 200_000


class Pictures:
    """Any thread may ask. `makers` and `fetchers` are where slow work belongs: a few threads each.

    A thumbnail's file is named by the SHA-256 of its original's bytes, so equal pictures share it
    and a picture that changed never shows an old one.
    """

    def __init__(self, cache: Path, home: Path, index: "Index", fetch: Fetch | None = None) -> None:
        """`cache`: where thumbnails go. `fetch(study, key)`: an original that is only in MLflow."""
        self.cache = cache
        self.store = Store(home, index, fetch)
        self.makers = ThreadPoolExecutor(MAKERS, "teststrip-thumbs")
        self.fetchers = ThreadPoolExecutor(MAKERS, "teststrip-fetch")
        self._digests: dict[Path, tuple[int, int, str]] = {}
        self._lock = threading.Lock()
        self._told = False

    def original(self, study: str, image_key: str) -> bytes:
        """The picture's bytes. Raises StudyError for what is unknown, StorageError otherwise."""
        return _read(self.store.find(study, image_key))

    def thumb(self, study: str, image_key: str, size: int) -> bytes:
        """WebP, at most `size` px (one of SIZES) on its longer side; made where it is not there.

        Raises StudyError for what is unknown, Vanished, Broken or another StorageError.
        """
        found = self.ready(study, image_key, size)
        return found[0] if found else self.make(study, image_key, (size,))[size]

    def ready(self, study: str, image_key: str, size: int) -> tuple[bytes, str] | None:
        """A thumbnail that was made before, and its ETag; None where it has to be made."""
        if size not in SIZES:
            raise StudyError(f"no thumbnails of {size} px; there are {SIZES}")
        path = self.store.find(study, image_key)
        digest = self._known(path)
        data = _whole(self._place(digest, size)) if digest else None
        return (data, tag(digest, size)) if digest and data else None

    def make(self, study: str, image_key: str, sizes: Sequence[int]) -> dict[int, bytes]:
        """Make and keep thumbnails of one original; those that are there are read."""
        path = self.store.find(study, image_key)
        data = _read(path)
        digest = self._remember(path, hashlib.sha256(data).hexdigest()[:40])
        found = {size: _whole(self._place(digest, size)) for size in sizes}
        out = {size: kept for size, kept in found.items() if kept}
        missing = [size for size in sizes if size not in out]
        if missing:
            made = thumbnails(data, missing)
            for size, small in made.items():
                self._keep(self._place(digest, size), small)
            out |= made
        return out

    def close(self) -> None:
        """End the threads; what was asked and not begun is dropped. Harmless twice."""
        self.makers.shutdown(wait=True, cancel_futures=True)
        self.fetchers.shutdown(wait=False, cancel_futures=True)

    def _keep(self, path: Path, data: bytes) -> None:
        """A disk that is full or read-only costs time with each look, not the picture."""
        try:
            _write(path, data)
        except StorageError as exc:
            if not self._told:
                log.warning("thumbnails are made again each time: %s", exc)
            self._told = True

    def _place(self, digest: str, size: int) -> Path:
        return self.cache / digest[:2] / f"{digest}-{size}.webp"

    def _known(self, path: Path) -> str | None:
        """The digest, where the file is as it was when it was read."""
        kept = self._digests.get(path)
        if kept is None:
            return self._remember(path, hashlib.sha256(_read(path)).hexdigest()[:40])
        now = path.stat()
        return kept[2] if (now.st_mtime_ns, now.st_size) == kept[:2] else None

    def _remember(self, path: Path, digest: str) -> str:
        now = path.stat()
        with self._lock:
            while len(self._digests) >= MOST_REMEMBERED:
                self._digests.pop(next(iter(self._digests)))
            self._digests[path] = (now.st_mtime_ns, now.st_size, digest)
        return digest


def tag(digest: str, size: int) -> str:
    """A thumbnail's ETag."""
    return f'"{digest[:24]}-{size}"'


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise Broken(f"{path.name}: more than {MOST_BYTES >> 20} MB; it is not shown")
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise Vanished(f"{path.name} has vanished") from exc
    except OSError as exc:
        if isinstance(exc, StorageError):
            raise
        raise StorageError(f"{path.name}: cannot be read: {exc.strerror or exc}") from exc


def _whole(path: Path) -> bytes | None:
    """A thumbnail's bytes; None where it is not there or a crash cut it short."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    says = int.from_bytes(data[4:8], "little") + 8 if data.startswith(b"RIFF") else -1
    return data if says == len(data) else None


def _write(path: Path, data: bytes) -> None:
    """Whole or not at all to other processes; a power cut may leave a part, which `_whole` sees.

    So no fsync: a hundred thousand of them would take longer than the thumbnails.
    """
    partial = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        partial = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        partial.replace(path)
    except OSError as exc:
        if partial is not None:
            partial.unlink(missing_ok=True)
        raise storage_error(path, exc) from exc
