"""Keys of the store: what is one, and what is refused before it reaches a disk or a server."""

import re

from teststrip.errors import StorageError

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"  # none begins with a dot: no `..`, no hidden files
_KEY = re.compile(rf"{_PART}(?:/{_PART})*")
MAX_CHARS = 500


def check_key(key: str) -> str:
    """The key itself. Raises StorageError for one that we would never make."""
    if len(key) > MAX_CHARS or not _KEY.fullmatch(key):
        raise StorageError(
            f"store: no key of ours: {key[:80]!r}; parts of letters, digits, `._-`, none of which "
            f"begins with a dot, joined by `/`, {MAX_CHARS} characters at most"
        )
    return key


def check_prefix(prefix: str) -> str:
    """A folder of keys without its last `/`; "" is all of them. Raises StorageError."""
    return check_key(prefix.removesuffix("/")) if prefix else ""
