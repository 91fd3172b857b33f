"""The line to Redis: scripts and commands with bounded retries, faults in clear words."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pydantic import SecretStr

from teststrip.errors import ConfigError, MissingExtra, StorageError
from teststrip.serve.state.redis_scripts import PRELUDE

try:
    from redis import exceptions as faults
    from redis.asyncio import BlockingConnectionPool, Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ImportError as exc:  # pragma: no cover - the extra is installed where tests run
    raise MissingExtra("the state in Redis", "service") from exc

OPEN_S = 60.0  # for a server that is starting
PATIENCE_S = 10.0  # for one that is away; a restart takes a second or two
PAUSE_S, LONGEST_PAUSE_S = 0.05, 1.0
ANSWER_S = 5.0
OLDEST = (7, 0)
T = TypeVar("T")
log = logging.getLogger(__name__)

FOR_GOOD = (faults.AuthenticationError, faults.AuthorizationError)  # kinds of ConnectionError
PASSING = (
    faults.ConnectionError,  # also "is loading its data" and "no free connection"
    faults.TimeoutError,
    faults.ReadOnlyError,  # a failover is under way
    faults.MasterDownError,
    faults.TryAgainError,
    OSError,
)


class Link:
    """A pool of connections to one server. Raises StorageError; never shows the password."""

    def __init__(
        self, url: SecretStr, *, patience_s: float = PATIENCE_S, answer_s: float = ANSWER_S
    ) -> None:
        self._url = url
        self._patience_s = patience_s
        self._answer_s = answer_s
        self._redis: Redis | None = None
        try:
            parts = urlsplit(url.get_secret_value())
            at = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
            _pool(url, answer_s)
        except ValueError as exc:
            raise ConfigError(
                "the address of Redis is wrong; accepted: redis://:password@host:6379/0, "
                "rediss://... (TLS), unix:///path"
            ) from exc
        self.where = f"Redis at {at}"

    async def open(self, wait_s: float = OPEN_S) -> None:
        """Connect; waits with growing pauses for a server that is not there yet."""
        if self._redis is None:
            self._redis = Redis(connection_pool=_pool(self._url, self._answer_s))
            try:
                await self._patiently(self._check, wait_s)
            except BaseException:
                await self.close()
                raise

    async def close(self) -> None:
        """Let go of all connections."""
        if self._redis is not None:
            redis, self._redis = self._redis, None
            await redis.aclose()
            await redis.connection_pool.disconnect()

    async def script(self, text: str, *args: bytes | str | float) -> Any:
        """Run a script. A server that restarted does not know it any more and is told again."""
        whole = PRELUDE + text
        digest = hashlib.sha1(whole.encode()).hexdigest()  # noqa: S324 - Redis names them so

        async def run(redis: Redis) -> Any:
            try:
                return await _do(redis, "EVALSHA", digest, 0, *args)
            except faults.NoScriptError:
                return await _do(redis, "EVAL", whole, 0, *args)

        return await self._patiently(run, self._patience_s)

    async def command(self, *words: bytes | str | float) -> Any:
        """Run one command."""
        return await self._patiently(lambda redis: _do(redis, *words), self._patience_s)

    async def is_ready(self, name: str) -> bool:
        """Can `name` be written now? One try; never raises."""
        try:
            async with asyncio.timeout(self._answer_s):
                if self._redis is None:
                    return False
                await _do(self._redis, "SET", name, "1", "EX", 60)
        except (faults.RedisError, OSError, TimeoutError):
            return False
        return True

    async def _patiently(self, run: Callable[[Redis], Awaitable[T]], patience_s: float) -> T:
        until, pause = time.monotonic() + patience_s, PAUSE_S
        while True:
            if self._redis is None:
                raise StorageError(f"{self.where}: is not open")
            try:
                return await run(self._redis)
            except FOR_GOOD as exc:
                raise StorageError(
                    f"{self.where}: refused user or password ({exc}); set "
                    "TESTSTRIP_SERVICE_REDIS to redis://user:password@host:port/0"
                ) from exc
            except PASSING as exc:
                if time.monotonic() + pause > until:
                    raise StorageError(
                        f"{self.where}: cannot be reached for {patience_s:g} s ({exc})"
                    ) from exc
            except faults.OutOfMemoryError as exc:
                raise StorageError(
                    f"{self.where}: is full; raise its maxmemory (noeviction is right)"
                ) from exc
            except faults.RedisError as exc:
                raise StorageError(f"{self.where}: refused: {exc}") from exc
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _check(self, redis: Redis) -> None:
        try:
            info = await redis.info()
        except faults.NoPermissionError:
            await _do(redis, "PING")
            return
        version = str(info.get("redis_version", "0"))
        if tuple(int(n) for n in version.split(".")[:2]) < OLDEST:
            raise StorageError(
                f"{self.where}: is version {version}; accepted: "
                f"{'.'.join(map(str, OLDEST))} or newer"
            )
        policy = info.get("maxmemory_policy", "noeviction")
        if info.get("maxmemory") and policy != "noeviction":
            log.warning("%s: may forget jobs (%s); set noeviction", self.where, policy)


async def _do(redis: Redis, *words: bytes | str | float) -> Any:
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]


def _pool(url: SecretStr, answer_s: float) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        url.get_secret_value(),
        max_connections=32,
        timeout=answer_s,
        socket_timeout=answer_s,
        socket_connect_timeout=answer_s,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
    )
