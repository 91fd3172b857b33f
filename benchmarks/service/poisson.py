"""Three ways to serve one trace of requests that come by chance, all in one thread.

Time in which a server has nothing to do is skipped, not slept: its clock jumps to the next
arrival. Work takes the time it takes.
"""

import random
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import plain

from teststrip import Engine, Generation, Request


@dataclass
class Served:
    """What one server made of one trace. Latencies in seconds, in the order of finishing."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0  # first arrival to last picture
    rows: int = 0  # rows of all model calls together
    calls: int = 0  # model calls of a whole batch
    images: int = 0  # pictures of all model calls together

    @property
    def images_per_s(self) -> float:
        """Finished pictures per second of the trace."""
        return len(self.latencies) / self.seconds

    def latency(self, share: float) -> float:
        """The latency that this share of the pictures stays within."""
        ordered = sorted(self.latencies)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    def occupancy(self, max_rows: int) -> float:
        """Rows of a model call that held something, 0 to 1, mean over the calls."""
        return self.rows / (self.calls * max_rows)

    def called(self, requests: list[Request]) -> None:
        """Note one pipeline call for these requests of one recipe."""
        recipe = requests[0].recipe
        self.calls += recipe.model_calls
        self.images += recipe.model_calls * len(requests)
        self.rows += recipe.model_calls * rows_of(requests[0]) * len(requests)


def rows_of(request: Request) -> int:
    """Rows of a model call that a request takes."""
    return 2 if request.recipe.guided else 1


def arrivals(count: int, per_s: float, seed: int) -> list[float]:
    """Seconds at which requests come: a Poisson process; `per_s` 0 is all of them at once."""
    rng = random.Random(seed)
    now, out = 0.0, []
    for _ in range(count):
        now += rng.expovariate(per_s) if per_s else 0.0
        out.append(now)
    return out


class Clock:
    """Seconds since the trace began; waiting costs nothing."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    def now(self) -> float:
        """Seconds of work and of skipped waiting."""
        return time.perf_counter() - self._begun

    def skip_to(self, moment: float) -> None:
        """Let the time until `moment` pass."""
        self._begun -= max(moment - self.now(), 0.0)


Trace = list[tuple[float, Request]]


def step_batching(engine: Engine, trace: Trace) -> Served:
    """Who arrives boards at the next step, whatever its recipe."""
    served, clock, coming = Served(), Clock(), deque(trace)
    came: dict[int, float] = {}  # by the request's own identity: equal requests may come twice

    def count(progress: Any) -> None:
        served.images += 1
        served.rows += rows_of(progress.request)

    while coming or not engine.is_idle:
        if engine.is_idle:
            clock.skip_to(coming[0][0])
        while coming and coming[0][0] <= clock.now():
            moment, request = coming.popleft()
            came[id(request)] = moment
            engine.add_request(request)
        before = served.images
        for outcome in engine.step(count):
            if not isinstance(outcome, Generation):
                raise RuntimeError(outcome.reason)  # noqa: TRY004 - no fault of a type
            served.latencies.append(clock.now() - came[id(outcome.request)])
        served.calls += served.images > before
    served.seconds = clock.now()
    return served


def one_at_a_time(pipe: Any, trace: Trace) -> Served:
    """First come, first served, one picture in a pipeline call."""
    return _by_calls(pipe, trace, max_rows=0)


def call_batching(pipe: Any, trace: Trace, max_rows: int) -> Served:
    """The oldest, and whoever waits with the same recipe, in one pipeline call.

    No window: a server that holds the oldest back to see who else comes only adds to its wait.
    """
    return _by_calls(pipe, trace, max_rows)


def _by_calls(pipe: Any, trace: Trace, max_rows: int) -> Served:
    served, clock, coming = Served(), Clock(), deque(trace)
    waiting: Trace = []
    while coming or waiting:
        if not waiting:
            clock.skip_to(coming[0][0])
        while coming and coming[0][0] <= clock.now():
            waiting.append(coming.popleft())
        first = waiting[0][1]
        size = max(max_rows // rows_of(first), 1)
        group = [item for item in waiting if item[1].recipe == first.recipe][:size]
        taken = Counter(id(request) for _, request in group)
        waiting = [item for item in waiting if id(item[1]) not in taken]
        requests = [request for _, request in group]
        plain.call(pipe, requests)
        served.called(requests)
        served.latencies += [clock.now() - moment for moment, _ in group]
    served.seconds = clock.now()
    return served
