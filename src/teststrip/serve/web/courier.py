"""Brings thumbs from the state to MLflow, whether it is there now or comes back later."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic import ValidationError

from teststrip.errors import MissingExtra, StorageError
from teststrip.serve.parts import Parts

log = logging.getLogger(__name__)
OUTBOX, SHARE = "rating:", "liked:"
BATCH = 500
SOON_S, SOMETIMES_S, LONGEST_S, GOODBYE_S = 2.0, 30.0, 300.0, 10.0


@asynccontextmanager
async def carried(app: FastAPI) -> AsyncIterator[None]:
    """While the app runs, thumbs are brought to MLflow: the app's lifespan."""
    stop = asyncio.Event()
    task = asyncio.create_task(app.state.courier.run(stop), name="thumbs")
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=GOODBYE_S)
        task.cancel()


class Courier:
    """Brings thumbs to MLflow; several at once do no harm, for MLflow counts each once.

    Only where MLflow is installed; elsewhere they wait for a process that has it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._ratings: Any = None
        self.bell = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`: soon after a thumb, else now and then; rarer while MLflow is away."""
        pause = SOMETIMES_S
        while not stop.is_set():
            await self._wait(stop, pause)
            try:
                sent = await self.send()
                pause = SOON_S if sent == BATCH else SOMETIMES_S
            except MissingExtra as exc:
                log.info("thumbs are kept for a process that has MLflow: %s", exc)
                await stop.wait()
            except StorageError as exc:
                pause = min(LONGEST_S, pause * 2)
                log.warning("thumbs wait, tried again in %.0f s: %s", pause, exc)
            except Exception:  # what MLflow may raise has no end; thumbs are kept
                pause = LONGEST_S
                log.exception("thumbs wait")

    async def send(self) -> int:
        """Send what waits; how many. Raises StorageError, MissingExtra: then it waits on."""
        waiting = await self._parts.state.things(OUTBOX, BATCH)
        if not waiting:
            return 0
        shares = await asyncio.to_thread(self._add, list(waiting.values()))
        for name, share in shares.items():
            await self._parts.state.put(f"{SHARE}{name}", json.dumps(share).encode())
        for name in waiting:
            await self._parts.state.drop(name)
        return len(waiting)

    def _add(self, rows: list[bytes]) -> dict[str, dict[str, Any]]:
        """`model:version` -> its share, after these were added."""
        from teststrip.track.ratings import Rating, Ratings

        ratings = []
        for row in rows:
            try:
                ratings.append(Rating.model_validate_json(row))
            except ValidationError as exc:  # kept by another version of the service
                log.warning("a thumb cannot be read and is dropped: %s", exc)
        if self._ratings is None:
            self._ratings = Ratings(self._parts.home)
        return {
            f"{served.model}:{served.version}": share.as_dict()
            for served, share in self._ratings.add(ratings).items()
        }

    async def _wait(self, stop: asyncio.Event, pause: float) -> None:
        """Until the bell rings (and a little longer: more will come), the pause is over, or stop"""
        self.bell.clear()
        waits = [asyncio.ensure_future(event.wait()) for event in (stop, self.bell)]
        try:
            await asyncio.wait(waits, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            if self.bell.is_set() and not stop.is_set():
                await asyncio.wait(waits[:1], timeout=SOON_S)
        finally:
            for wait in waits:
                wait.cancel()
