"""Originals and thumbnails by study and image key. (Signatures; its owner fills them.)"""

from pathlib import Path

SIZES = (96, 192, 384, 768)


class Pictures:
    """Thumbnails are WebP, made once, kept by content under `cache`."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache

    def original(self, study: str, image_key: str) -> bytes:
        """The PNG. Raises StorageError where it vanished."""
        raise NotImplementedError

    def thumb(self, study: str, image_key: str, size: int) -> bytes:
        """WebP, at most `size` px on its longer side. Raises StorageError."""
        raise NotImplementedError
