"""A stage's progress on stderr: what is being done, how much of it, time left."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teststrip.wire.stages import Progress

LINE_EVERY_S = 60.0


@contextmanager
def progress(quiet: bool) -> "Iterator[Progress]":
    """A bar where stderr is a terminal; else a line a minute, so that short stages stay silent."""
    if quiet:
        yield lambda what, done, total: None
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as bar:
            tasks: dict[str, Any] = {}

            def show(what: str, done: int, total: int) -> None:
                if what not in tasks:
                    tasks[what] = bar.add_task(what, total=total or None)
                bar.update(tasks[what], completed=done, total=total or None)

            yield show


class _Lines:
    """For logs: one line a minute, with the time that is left at the pace so far."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_EVERY_S
        self._what = ""
        self._since, self._from = time.monotonic(), 0

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what != self._what or done < self._from:
            self._what, self._since, self._from = what, now, done
        if now < self._next:
            return
        self._next = now + LINE_EVERY_S
        count = f"{done}/{total}" if total else str(done)
        print(f"{what}: {count}{self._left(now, done, total)}", file=sys.stderr, flush=True)

    def _left(self, now: float, done: int, total: int) -> str:
        made = done - self._from
        if made <= 0 or total <= done:
            return ""
        minutes, seconds = divmod(round((now - self._since) / made * (total - done)), 60)
        return f"  ETA {minutes}:{seconds:02d}"
