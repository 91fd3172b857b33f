"""Whose turn it is: urgent lanes first, but no lane waits for ever. One order for all of us.

A worker pulls by it and the web works out queue positions with it, so what is told is what happens.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar

from teststrip.serve.jobs.job import PRIORITIES, Priority
from teststrip.serve.queue.base import Lane, all_lanes

# of every 21 jobs taken while all priorities wait: 16 of people, 4 of the API, 1 of sweeps
SHARES: dict[Priority, int] = {"people": 16, "api": 4, "sweep": 1}
T = TypeVar("T")


class Turns:
    """Smooth weighted turns between priorities (as nginx weighs servers), round robin in each."""

    def __init__(self) -> None:
        self._credit = dict.fromkeys(PRIORITIES, 0)
        self._rings = {p: deque(lane for lane in all_lanes() if lane.priority == p) for p in SHARES}

    def order(self, waiting: Iterable[Lane]) -> list[Lane]:
        """Lanes to try, best first, of those that may hold something. Changes nothing."""
        known = set(waiting)
        able = [p for p in PRIORITIES if any(lane.priority == p for lane in known)]
        able.sort(key=lambda p: -(self._credit[p] + SHARES[p]))  # stable: urgent first when equal
        return [lane for p in able for lane in self._rings[p] if lane in known]

    def took(self, lane: Lane, waiting: Iterable[Lane]) -> None:
        """Note that a job of `lane` was taken while these lanes held something."""
        able = {other.priority for other in waiting} | {lane.priority}
        for priority in able:
            self._credit[priority] += SHARES[priority]
        self._credit[lane.priority] -= sum(SHARES[p] for p in able)
        for priority in set(PRIORITIES) - able:
            self._credit[priority] = 0  # who was not there saves nothing up
        ring = self._rings[lane.priority]
        ring.remove(lane)
        ring.append(lane)


def in_order(waiting: Mapping[Lane, Iterable[T]]) -> Iterator[T]:
    """All that waits, in the order in which it will be taken."""
    lanes = {lane: deque(jobs) for lane, jobs in waiting.items()}
    lanes = {lane: jobs for lane, jobs in lanes.items() if jobs}
    turns = Turns()
    while len(lanes) > 1:
        lane = turns.order(lanes)[0]
        turns.took(lane, lanes)
        yield lanes[lane].popleft()
        if not lanes[lane]:
            del lanes[lane]
    for jobs in lanes.values():  # the last lane has no one to share with
        yield from jobs
