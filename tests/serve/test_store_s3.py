"""S3 as a store: signed addresses, wrong keys, buckets, a server that is away."""

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest

from teststrip.errors import StorageError
from teststrip.serve.store.s3 import S3Store


@pytest.fixture
async def store(s3) -> AsyncIterator[S3Store]:
    store = S3Store(s3.bucket, "some/where", endpoint=s3.endpoint)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.service
@pytest.mark.anyio
class TestOnAServer:
    async def test_a_signed_address_gives_the_picture_to_anybody(self, store: S3Store) -> None:
        await store.put("jobs/a/0.png", b"picture", "image/png")

        address = await store.url("jobs/a/0.png", 60)

        async with httpx.AsyncClient() as client:
            answer = await client.get(address)
            forged = await client.get(address.replace("/0.png", "/1.png"))
            unsigned = await client.get(address.partition("?")[0])
        assert (answer.status_code, answer.content) == (200, b"picture")
        assert answer.headers["content-type"] == "image/png"
        assert (forged.status_code, unsigned.status_code) == (403, 403)

    async def test_a_signed_address_names_the_public_server(self, s3) -> None:
        store = S3Store(
            s3.bucket, endpoint=s3.endpoint, public_endpoint="https://pictures.example.org"
        )

        address = await store.url("jobs/a/0.png", 60)

        assert address.startswith(f"https://pictures.example.org/{s3.bucket}/jobs/a/0.png?")
        assert "X-Amz-Expires=60&" in address

    async def test_a_bucket_that_is_not_there_is_made(self, s3, namespace) -> None:
        store = S3Store(f"{namespace}-new", endpoint=s3.endpoint)

        await store.open()

        assert await store.put("jobs/a/0.png", b"x", "image/png") is True
        await store.close()

    async def test_wrong_credentials_are_one_clear_fault_and_not_shown(
        self, s3, monkeypatch
    ) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-one")
        store = S3Store(s3.bucket, endpoint=s3.endpoint)

        with pytest.raises(StorageError, match="403 Forbidden") as caught:
            await store.open()

        assert "not-the-one" not in str(caught.value)
        assert await store.is_ready() is False
        await store.close()


@pytest.mark.anyio
async def test_a_server_that_hangs_is_not_ready_and_blocks_nobody(monkeypatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # the system accepts; nobody answers
        store = S3Store("bucket", endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}")
        asking = asyncio.create_task(store.is_ready())
        ticks = 0
        while not asking.done():
            await asyncio.sleep(0.01)
            ticks += 1
        assert asking.result() is False
        assert ticks > 20
        await store.close()


@pytest.mark.anyio
async def test_a_server_that_is_away_is_an_error_soon_and_not_ready(
    free_port: int, monkeypatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    store = S3Store("bucket", endpoint=f"http://127.0.0.1:{free_port}")

    assert await store.is_ready() is False
    with pytest.raises(StorageError, match=r"store s3://bucket: jobs/a/0\.png"):
        await store.get("jobs/a/0.png")
    await store.close()
