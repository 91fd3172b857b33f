"""A web of real parts in a folder of its own: SQLite, a folder of pictures, a queue in memory."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import pytest
from fastapi import FastAPI

from teststrip.serve.config import ServiceConfig
from teststrip.serve.jobs.ids import JobIds
from teststrip.serve.jobs.job import Image, JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.queue.memory import MemoryQueue
from teststrip.serve.state.sqlite import SqliteState
from teststrip.serve.store.folder import FolderStore
from teststrip.serve.web.app import create_app

PNG = b"\x89PNG\r\n\x1a\n not a picture, but bytes that must come back as they are"


@dataclass
class Web:
    """The app, a client of it on this machine, and what they are made of."""

    app: FastAPI
    parts: Parts
    client: httpx.AsyncClient

    def visitor(self, **options) -> httpx.AsyncClient:
        """Another client: `host`, `address` (where it calls from) and httpx's options."""
        host, address = options.pop("host", "127.0.0.1"), options.pop("address", "127.0.0.1")
        transport = httpx.ASGITransport(self.app, client=(address, 1234))
        return httpx.AsyncClient(transport=transport, base_url=f"http://{host}", **options)

    async def post(self, status: int = 202, **wish) -> dict:
        """The answer to a wish."""
        answer = await self.client.post("/api/jobs", json={"prompt": "a cat"} | wish)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def record(self, job: dict) -> JobRecord:
        """The record behind an answer."""
        found = await self.parts.state.get(self.parts.ids.read(job["id"]).key)
        assert found is not None
        return found

    async def take(self) -> JobRecord:
        """Take the next job up, as a worker does."""
        delivery = await self.parts.queue.pull(5)
        assert delivery is not None
        claimed = await self.parts.state.claim(delivery.record, "worker-1", 60)
        assert claimed is not None
        await delivery.ack()
        return claimed

    async def finish(self, record: JobRecord, state="done", **fields) -> JobRecord:
        """Make its pictures and end it, as a worker does."""
        images = []
        for k, seed in enumerate(record.seeds):
            await self.parts.store.put(record.image_key(k), PNG, "image/png")
            digest = hashlib.sha256(PNG).hexdigest()
            images.append(
                Image(index=k, seed=seed, key=record.image_key(k), sha256=digest, bytes=len(PNG))
            )
        given = {"images": tuple(images), "calls_done": record.calls_total} | fields
        ended = await self.parts.state.move(record.key, record.fence, state, **given)
        assert ended is not None
        manifest = ended.model_dump_json().encode()
        await self.parts.store.put(ended.manifest_key, manifest, "application/json", replace=True)
        return ended


@pytest.fixture
def parts_of(tmp_path):
    """Parts of a configuration; modules that give their own run on others."""

    def made(**fields) -> Parts:
        config = ServiceConfig(**fields)
        return Parts(
            home=tmp_path,
            config=config,
            ids=JobIds(config.the_secret(tmp_path)),
            state=SqliteState(tmp_path / "state.db", result_ttl_s=config.result_ttl_s),
            store=FolderStore(tmp_path / "images"),
            queue=MemoryQueue(None),
        )

    return made


@pytest.fixture
def open_web(parts_of):
    """Opens a web: `async with open_web(keys=ring, champions=..., max_steps=50) as web`."""

    @asynccontextmanager
    async def opened(
        *, keys=None, champions=None, hosts=(), recommended=None, **fields
    ) -> AsyncIterator[Web]:
        parts = parts_of(**fields)
        await parts.open()
        app = create_app(
            parts, champions=champions, keys=keys, hosts=hosts, recommended=recommended
        )
        transport = httpx.ASGITransport(app)
        try:
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1"
            ) as client:
                yield Web(app, parts, client)
        finally:
            await parts.close()

    return opened


@pytest.fixture
async def web(open_web):
    """A web without keys."""
    async with open_web() as opened:
        yield opened
