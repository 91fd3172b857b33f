"""What every store must do, on a folder and on an S3 server."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from teststrip.errors import StorageError
from teststrip.serve.store.base import ArtifactStore
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.store.s3 import S3Store

pytestmark = pytest.mark.anyio
PNG = "image/png"
BAD_KEYS = (
    "",
    "/etc/passwd",
    "../up.png",
    "jobs/../../up.png",
    "jobs//0.png",
    "jobs/.hidden",
    "jobs/a b.png",
    "jobs/a\n.png",
    "jobs/é.png",
    "jobs\\0.png",
    "jobs/0.png/",
    "a" * 501,
)


async def collect(parts: AsyncIterator[bytes]) -> bytes:
    return b"".join([part async for part in parts])


class StoreLaws:
    """Give the fixture `store`: open and empty."""

    async def test_what_was_put_is_got_streamed_and_sized(self, store: ArtifactStore) -> None:
        data = bytes(range(256)) * 3000  # more than one part

        assert await store.put("jobs/a/0.png", data, PNG, {"seed": "7"}) is True

        assert await store.get("jobs/a/0.png") == data
        assert await store.size("jobs/a/0.png") == len(data)
        assert await collect(store.stream("jobs/a/0.png")) == data

    async def test_what_is_not_there_is_none_and_cannot_be_streamed(
        self, store: ArtifactStore
    ) -> None:
        await store.put("jobs/a/0.png", b"x", PNG)

        for key in ("jobs/b/0.png", "jobs/a/1.png", "jobs/a/0.png/deeper"):
            assert await store.get(key) is None
            assert await store.size(key) is None
        with pytest.raises(StorageError, match=r"jobs/b/0\.png is not there"):
            await collect(store.stream("jobs/b/0.png"))

    async def test_a_second_put_changes_nothing_unless_it_is_to_replace(
        self, store: ArtifactStore
    ) -> None:
        assert await store.put("jobs/a/job.json", b"first", PNG) is True
        assert await store.put("jobs/a/job.json", b"second", PNG) is False
        assert await store.get("jobs/a/job.json") == b"first"
        assert await store.put("jobs/a/job.json", b"third", PNG, replace=True) is False
        assert await store.get("jobs/a/job.json") == b"third"

    async def test_many_writers_of_one_key_leave_one_whole_object(
        self, store: ArtifactStore
    ) -> None:
        data = b"p" * 300_000

        await asyncio.gather(*(store.put("jobs/a/0.png", data, PNG) for _ in range(8)))

        assert [s.key async for s in store.below("jobs")] == ["jobs/a/0.png"]
        assert await store.get("jobs/a/0.png") == data

    async def test_below_tells_keys_sizes_and_dates(self, store: ArtifactStore) -> None:
        for key in ("jobs/a/0.png", "jobs/a/1.png", "jobs/ab/0.png", "other/0.png"):
            await store.put(key, key.encode(), PNG)

        found = {s.key: s async for s in store.below("jobs/a")}

        assert sorted(found) == ["jobs/a/0.png", "jobs/a/1.png"]
        assert found["jobs/a/0.png"].size == len("jobs/a/0.png")
        assert abs(found["jobs/a/0.png"].modified - time.time()) < 600
        assert len([s async for s in store.below("jobs/")]) == 3
        assert len([s async for s in store.below("")]) == 4
        assert [s async for s in store.below("nothing")] == []

    async def test_delete_takes_the_job_and_not_its_neighbour(self, store: ArtifactStore) -> None:
        for key in ("jobs/a/0.png", "jobs/a/job.json", "jobs/ab/0.png"):
            await store.put(key, b"x", PNG)

        assert await store.delete("jobs/a") == 2

        assert await store.delete("jobs/a/") == 0
        assert [s.key async for s in store.below("jobs")] == ["jobs/ab/0.png"]
        assert await store.put("jobs/a/0.png", b"again", PNG) is True

    async def test_all_of_it_is_never_deleted_at_once(self, store: ArtifactStore) -> None:
        with pytest.raises(StorageError, match="needs a prefix"):
            await store.delete("")

    @pytest.mark.parametrize("key", BAD_KEYS)
    async def test_a_key_that_is_not_ours_is_refused(self, store: ArtifactStore, key: str) -> None:
        for call in (store.put(key, b"x", PNG), store.get(key), store.size(key)):
            with pytest.raises(StorageError, match="no key of ours"):
                await call
        with pytest.raises(StorageError, match="no key of ours"):
            await collect(store.stream(key))

    async def test_it_says_that_it_is_ready(self, store: ArtifactStore) -> None:
        assert await store.is_ready() is True


class TestFolderStore(StoreLaws):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[ArtifactStore]:
        store = FolderStore(tmp_path / "images")
        await store.open()
        yield store
        await store.close()


@pytest.mark.service
class TestS3Store(StoreLaws):
    @pytest.fixture
    async def store(self, s3) -> AsyncIterator[ArtifactStore]:
        store = S3Store(s3.bucket, "some/where", endpoint=s3.endpoint)
        await store.open()
        yield store
        await store.close()
