"""Decode and PNG, off the step loop."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from teststrip.records import Outcome


class Finisher:
    """Runs the end of each image (decode, checks, PNG) in threads, or in line with 0 threads.

    With threads on a GPU the decode runs on a stream of its own, beside the next steps. On a CPU
    the cores are the same ones, so in line is the default (docs/log.md has the measurement).
    """

    def __init__(self, threads: int, device: torch.device) -> None:
        self._pool = ThreadPoolExecutor(threads, "teststrip-finish") if threads else None
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" and threads else None
        self._pending: deque[Future[Outcome]] = deque()
        self._bound = 4 * max(threads, 1)

    def __len__(self) -> int:
        return len(self._pending)

    def submit(self, work: Callable[[], Outcome]) -> None:
        """Queue one image's end. Blocks while too many wait, which bounds their memory."""
        if self._pool is None:
            done: Future[Outcome] = Future()
            done.set_result(work())
            self._pending.append(done)
            return
        while sum(not future.done() for future in self._pending) >= self._bound:
            next(f for f in self._pending if not f.done()).exception()
        ready = None
        if self._stream is not None:
            ready = torch.cuda.Event()
            ready.record(torch.cuda.current_stream())
        self._pending.append(self._pool.submit(self._run, work, ready))

    def collect(self, *, wait: bool = False) -> list[Outcome]:
        """Finished outcomes, oldest first; with `wait`, at least one if any is pending."""
        out: list[Outcome] = []
        while self._pending and (self._pending[0].done() or (wait and not out)):
            out.append(self._pending.popleft().result())
        return out

    def close(self) -> None:
        """Stop the threads; pending images are dropped."""
        self._pending.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _run(self, work: Callable[[], Outcome], ready: "torch.cuda.Event | None") -> Outcome:
        if self._stream is None or ready is None:
            return work()
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(ready)
            return work()
