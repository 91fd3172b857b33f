"""API keys: a file that holds their hashes. Shown once, when they are made."""

import asyncio
import hashlib
import json
import logging
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from teststrip.config import parse
from teststrip.errors import ConfigError
from teststrip.files import write_atomic
from teststrip.guard import is_loopback
from teststrip.lock import waiting
from teststrip.recipe import Frozen

log = logging.getLogger(__name__)
Scope = Literal["generate", "people", "study", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
PREFIX = "ts_"
LOOK_S = 1.0  # a change of the file is seen after this time


class Key(Frozen):
    """What is known of a key. Zeros: no limit of its own.

    generate: jobs of programs; people: jobs that a person waits for; study: sweeps, and recipes
    with adapters by path; admin: everybody's jobs, and the service's numbers.
    """

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    name: str = Field(min_length=1, max_length=100)
    hash: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)  # SHA-256: the secret has 256 bits
    prefix: str  # the first letters of the secret, to tell keys apart
    scopes: tuple[Scope, ...] = Field(min_length=1)
    per_minute: int = Field(default=0, ge=0)  # requests that make jobs
    images_per_day: int = Field(default=0, ge=0)
    max_queued: int = Field(default=0, ge=0)
    created: float = 0.0


class KeyFile(Frozen):
    """The file's content."""

    format: Literal[1] = 1
    keys: tuple[Key, ...] = ()


class KeyRing:
    """The keys of `path`, read again when the file changes; a file that is not there has none.

    Raises ConfigError for a file that is not ours. One that breaks later changes nothing: the
    keys known before go on, and the log says so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, ...] | None = None
        self._looked = 0.0
        self._by_hash: dict[str, Key] = {}
        self._by_id: dict[str, Key] = {}
        self._read()

    def find(self, secret: str) -> Key | None:
        """The key with this secret, or None."""
        # Looked up by hash: how long it takes tells nothing about other secrets.
        return self._by_hash.get(_hash(secret))

    def by_id(self, key_id: str) -> Key | None:
        """The key with this id, or None where it was revoked."""
        return self._by_id.get(key_id)

    def list(self) -> Sequence[Key]:
        """All keys, oldest first."""
        return sorted(self._by_id.values(), key=lambda key: key.created)

    async def refresh(self) -> None:
        """Read the file again where it changed; looks at it once a second at most."""
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        await asyncio.to_thread(self._read_again)

    def add(
        self,
        name: str,
        scopes: Sequence[str] = ("generate",),
        *,
        per_minute: int = 0,
        images_per_day: int = 0,
        max_queued: int = 0,
    ) -> tuple[Key, str]:
        """A new key and its secret, which is not kept. Raises ConfigError, StorageError."""
        secret = PREFIX + secrets.token_urlsafe(32)
        key = parse(
            Key,
            {
                "id": secrets.token_hex(6),
                "name": name,
                "hash": _hash(secret),
                "prefix": secret[:8],
                "scopes": tuple(dict.fromkeys(scopes)),
                "per_minute": per_minute,
                "images_per_day": images_per_day,
                "max_queued": max_queued,
                "created": time.time(),
            },
            "key",
        )
        with self._locked():
            self._write([*self.list(), key])
        return key, secret

    def revoke(self, key_id: str) -> Key:
        """Take a key away; by its id, or by its name where only one has it. Raises ConfigError."""
        with self._locked():
            fitting = [key for key in self.list() if key_id in {key.id, key.name}]
            if len(fitting) != 1:
                what = "no key" if not fitting else f"{len(fitting)} keys"
                raise ConfigError(f"{what} with id or name {key_id!r}; see: service keys list")
            self._write([key for key in self.list() if key.id != fitting[0].id])
        return fitting[0]

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among those that change the file, and with its newest content."""
        with waiting(self._path.with_suffix(".lock")):
            self._read()
            yield

    def _write(self, keys: Sequence[Key]) -> None:
        content = KeyFile(keys=tuple(keys)).model_dump(mode="json")
        write_atomic(self._path, json.dumps(content, indent=2).encode() + b"\n")
        self._read()

    def _read_again(self) -> None:
        try:
            self._read()
        except ConfigError as exc:
            log.error("the keys known before stay: %s", exc)  # noqa: TRY400 - no traceback

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            seen: tuple[int, ...] = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            found = json.loads(self._path.read_bytes())
        except FileNotFoundError:
            seen, found = (), {}
        except (OSError, ValueError) as exc:
            raise ConfigError(f"{self._path}: cannot be read as a file of keys: {exc}") from exc
        keys = parse(KeyFile, found, str(self._path)).keys
        self._by_hash = {key.hash: key for key in keys}
        self._by_id = {key.id: key for key in keys}
        self._seen = seen


def check_bind(host: str, keys: KeyRing | None) -> None:
    """Raises ConfigError for an address that other machines reach while no key is asked for."""
    if not is_loopback(host) and (keys is None or not keys.list()):
        raise ConfigError(
            f"--host {host} lets other machines in and no API key is asked for; set "
            "TESTSTRIP_SERVICE_KEYS_FILE and make one (teststrip service keys add NAME), or bind "
            "to 127.0.0.1"
        )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
