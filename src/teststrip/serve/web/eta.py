"""Where a job stands in the queue and when it will be done: counted in model calls."""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from teststrip.serve.jobs.job import JobRecord
from teststrip.serve.parts import Parts
from teststrip.serve.queue.base import Lane
from teststrip.serve.queue.turns import in_order
from teststrip.serve.state.base import Waiting, WorkerCard

FRESH_S = 0.5
SHARE = 10  # a look may take a tenth of the time, however long the queue is


@dataclass(frozen=True)
class Place:
    """`position`: jobs before it (None: not waiting). `eta_s`: until it is done; None unknown."""

    position: int | None = None
    eta_s: float | None = None


class Etas:
    """One look at queue and workers serves all who ask within half a second or little more."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._looked, self._fresh_s = float("-inf"), FRESH_S
        self._lock = asyncio.Lock()
        self._cards: dict[str, WorkerCard] = {}
        self._before: dict[str, tuple[int, int]] = {}  # see `places`
        self._calls = 0  # of all in it

    async def place(self, record: JobRecord) -> Place:
        """Of a job that is not ended."""
        if record.is_ended:
            return Place()
        async with self._lock:
            if time.monotonic() - self._looked >= self._fresh_s:
                await self._look()
        if record.state == "running":
            return Place(None, running_s(record, self._cards.get(record.worker)))
        cards = [card for card in self._cards.values() if not card.draining]
        if record.key not in self._before:  # came after the last look: behind all that are known
            self._before[record.key] = (len(self._before), self._calls)
            self._calls += record.calls_total
        position, before = self._before[record.key]
        return Place(position, queued_s(cards, before, record.calls_total))

    async def _look(self) -> None:
        began = time.monotonic()
        waiting, cards = await asyncio.gather(
            self._parts.state.waiting(), self._parts.state.workers()
        )
        self._cards = {card.name: card for card in cards}
        self._before = await asyncio.to_thread(places, waiting)
        self._calls = sum(job.calls for job in waiting)
        self._looked = time.monotonic()
        self._fresh_s = max(FRESH_S, SHARE * (self._looked - began))


def places(waiting: Iterable[Waiting]) -> dict[str, tuple[int, int]]:
    """Job key -> (jobs before it, model calls before it), in the order in which they are taken."""
    lanes: dict[Lane, list[Waiting]] = defaultdict(list)
    for job in waiting:
        lanes[job.lane].append(job)
    found, calls = {}, 0
    for position, job in enumerate(in_order(lanes)):
        found[job.key] = (position, calls)
        calls += job.calls
    return found


def queued_s(cards: list[WorkerCard], before: int, own: int) -> float | None:
    """Seconds until a waiting job is done: all calls before it and its own, at our pace."""
    pace = sum(card.calls_per_s for card in cards)
    if pace <= 0:
        return None
    return (sum(card.calls_left for card in cards) + before + own) / pace


def running_s(record: JobRecord, card: WorkerCard | None) -> float | None:
    """Seconds until a running job is done: its share of its worker's pace."""
    if card is None or card.calls_per_s <= 0:
        return None
    left = max(0, record.calls_total - record.calls_done)
    on_board = max(1, card.images)
    mine = min(on_board, max(1, math.ceil(left / record.recipe.model_calls)))
    return left * on_board / (mine * card.calls_per_s)
