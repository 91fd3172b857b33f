"""S3Store: objects in a bucket of Amazon S3 or of any server that speaks its protocol.

obstore's calls that wait (not its asynchronous ones: those abort a process that ends right after)
run in threads of the store's own, so that a store that hangs keeps nobody else's threads.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, TypeVar

from teststrip.errors import MissingExtra, StorageError
from teststrip.serve.store.base import Stored
from teststrip.serve.store.keys import check_key, check_prefix

THREADS = 16
PART_BYTES = 256 * 1024
PAGE = 500
REQUEST_S = 15
RETRIES = 3
RETRY_FOR_S = 20  # no call takes longer than about this and one more request
READY = "ready"  # the object that is written to see whether one can be
NEVER_LONGER_S = 7 * 86400  # S3 signs no address for longer
T = TypeVar("T")


class S3Store:
    """`ArtifactStore` in `bucket`, below `prefix`.

    `endpoint`: address of the server; None is Amazon's. `public_endpoint`: where clients reach the
    same server; it goes into signed addresses, for its name is part of the signature. Credentials
    come from where Amazon's own tools look: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, a role.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        public_endpoint: str | None = None,
        region: str = "us-east-1",
    ) -> None:
        try:
            import obstore
        except ModuleNotFoundError as exc:
            raise MissingExtra("storing in S3 (package obstore)", "service") from exc
        self._obstore = obstore
        self._bucket, self._prefix = bucket, check_prefix(prefix)
        self._endpoint, self._region = endpoint, region
        self._store = self._made(endpoint, RETRIES, self._prefix)
        self._once = self._made(
            endpoint, 0, self._prefix
        )  # for is_ready: an answer now, not after retries
        self._signing = self._made(public_endpoint or endpoint, 0, self._prefix)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="s3")

    async def open(self) -> None:
        """See that it can be written to; a server of one's own is asked to make the bucket."""
        try:
            await self._in_thread(READY, self._probe, self._store)
        except FileNotFoundError:
            if self._endpoint is None:
                raise StorageError(
                    f"store s3://{self._bucket}: there is no such bucket; make it first"
                ) from None
            await self._in_thread(READY, self._make_bucket)
            await self._in_thread(READY, self._probe, self._store)

    async def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

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
        name = check_key(key)
        file_name = name.replace("jobs/", "", 1).replace("/", "-")
        attributes = dict(meta or {}) | {
            "Content-Type": content_type,
            "Content-Disposition": f'inline; filename="{file_name}"',
        }
        was_there = await self.size(key) is not None
        if was_there and not replace:
            return False
        try:
            await self._in_thread(
                key, self._write, name, data, attributes, "overwrite" if replace else "create"
            )
        except self._obstore.exceptions.AlreadyExistsError:  # another was quicker
            return False
        return not was_there

    async def get(self, key: str) -> bytes | None:
        """Its bytes, or None where it is not there."""
        name = check_key(key)
        try:
            return await self._in_thread(
                key, lambda: bytes(self._obstore.get(self._store, name).bytes())
            )
        except FileNotFoundError:
            return None

    async def size(self, key: str) -> int | None:
        """Bytes, or None where it is not there."""
        name = check_key(key)
        try:
            return await self._in_thread(
                key, lambda: int(self._obstore.head(self._store, name)["size"])
            )
        except FileNotFoundError:
            return None

    async def stream(self, key: str) -> AsyncIterator[bytes]:
        """Its bytes in parts. Raises StorageError also where it is not there."""
        name = check_key(key)
        try:
            parts: Iterator[Any] = await self._in_thread(
                key, lambda: iter(self._obstore.get(self._store, name).stream(PART_BYTES))
            )
            while (part := await self._in_thread(key, next, parts, None)) is not None:
                yield bytes(part)
        except FileNotFoundError:
            raise StorageError(f"store: {key} is not there") from None

    async def url(self, key: str, ttl_s: float, file_name: str = "") -> str | None:
        """A signed address. It is saved under the name that `put` gave, not `file_name`."""
        name, lasts = check_key(key), timedelta(seconds=max(1, min(ttl_s, NEVER_LONGER_S)))
        return await self._in_thread(
            key, lambda: str(self._obstore.sign(self._signing, "GET", name, lasts))
        )

    async def delete(self, prefix: str) -> int:
        """Remove all objects below `prefix`; how many there were. Raises StorageError for ""."""
        if not check_prefix(prefix):
            raise StorageError("store: delete needs a prefix; all of it is never removed at once")
        count, keys = 0, [stored.key async for stored in self.below(prefix)]
        for at in range(0, len(keys), PAGE):
            page = keys[at : at + PAGE]
            await self._in_thread(prefix, self._obstore.delete, self._store, page)
            count += len(page)
        return count

    async def below(self, prefix: str) -> AsyncIterator[Stored]:
        """All objects in the folder `prefix` and deeper."""
        folder = check_prefix(prefix)
        pages = self._obstore.list(self._store, folder or None, chunk_size=PAGE)
        while (page := await self._in_thread(prefix, next, pages, None)) is not None:
            for found in page:
                if found["path"] != READY:
                    yield Stored(found["path"], found["size"], found["last_modified"].timestamp())

    async def is_ready(self) -> bool:
        """Can it be written to now?"""
        try:
            await self._in_thread(READY, self._probe, self._once)
        except (StorageError, FileNotFoundError):
            return False
        return True

    def _made(self, endpoint: str | None, retries: int, prefix: str) -> Any:
        from obstore.store import S3Store as Bucket

        return Bucket(
            self._bucket,
            prefix=prefix or None,
            region=self._region,
            virtual_hosted_style_request=False,
            **({"endpoint": endpoint} if endpoint else {}),
            client_options={
                "allow_http": bool(endpoint and endpoint.startswith("http://")),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(seconds=REQUEST_S if retries else 3),
            },
            retry_config={
                "max_retries": retries,
                "retry_timeout": timedelta(seconds=RETRY_FOR_S),
                "backoff": {
                    "init_backoff": timedelta(seconds=0.2),
                    "max_backoff": timedelta(seconds=4),
                    "base": 2,
                },
            },
        )

    def _write(self, name: str, data: bytes, attributes: Mapping[str, str], mode: str) -> None:
        refused = self._obstore.exceptions.NotSupportedError
        try:
            self._obstore.put(self._store, name, data, attributes=attributes, mode=mode)
        except refused:  # a server that cannot write on a condition; `put` has looked before
            self._obstore.put(self._store, name, data, attributes=attributes)

    def _probe(self, store: Any) -> None:
        self._obstore.put(store, READY, b"ready")

    def _make_bucket(self) -> None:
        import httpx

        root = self._made(self._endpoint, 0, "")
        signed = self._obstore.sign(root, "PUT", "", timedelta(seconds=60))
        try:
            answer = httpx.put(signed, timeout=REQUEST_S)
        except httpx.HTTPError as exc:
            raise StorageError(f"store s3://{self._bucket}: {exc}") from exc
        if answer.status_code >= 400 and answer.status_code != 409:  # 409: it is there
            raise StorageError(
                f"store s3://{self._bucket}: the bucket cannot be used or made "
                f"(HTTP {answer.status_code}); check its name, AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or make it by hand"
            )

    async def _in_thread(self, key: str, call: Callable[..., T], *args: Any) -> T:
        """Run a call of obstore. Raises StorageError, and as they are: not found, already there."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)
        except (FileNotFoundError, self._obstore.exceptions.AlreadyExistsError):
            raise
        except (self._obstore.exceptions.BaseError, OSError, ValueError) as exc:
            if isinstance(exc, StorageError):
                raise
            raise StorageError(self._said(key, exc)) from exc

    def _said(self, key: str, exc: Exception) -> str:
        first = str(exc).partition("\n")[0][:400]
        return f"store s3://{self._bucket}: {key or 'all keys'}: {first}"
