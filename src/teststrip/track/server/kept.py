"""What a server makes for itself at its first start and keeps: `secrets/` of its folder, 0600."""

from pathlib import Path

from teststrip.files import make_secret, storage_error, write_atomic

ADMIN_PASSWORD, SECRET_KEY, LOGIN_INI = "admin-password", "secret-key", "login.ini"


class Kept:
    """The folder of secrets below `folder`. Its methods raise StorageError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "secrets"

    def path(self, name: str) -> Path:
        """Where a secret lies, or will."""
        return self._folder / name

    def made(self, name: str) -> tuple[str, bool]:
        """The secret, and whether it was made now."""
        path = self._ready(name)
        try:
            is_new = make_secret(path)
            return path.read_text(encoding="ascii").strip(), is_new
        except OSError as exc:
            raise storage_error(path, exc) from exc

    def written(self, name: str, text: str) -> Path:
        """A file that holds secrets of others: whole or not there, and never readable by others."""
        path = self._ready(name)
        write_atomic(path, text.encode(), mode=0o600)
        return path

    def _ready(self, name: str) -> Path:
        try:
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._folder.parent.chmod(0o700)  # password hashes lie beside it
            self._folder.mkdir(exist_ok=True, mode=0o700)
        except OSError as exc:
            raise storage_error(self._folder, exc) from exc
        return self._folder / name
