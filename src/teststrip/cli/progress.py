"""A study's progress bar on stderr: images, best so far, what racing saved, time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teststrip.study import Event

LINE_EVERY_S = 60.0


@contextmanager
def progress_bar(name: str, *, quiet: bool = False) -> "Iterator[Callable[[Event], None]]":
    """A bar where stderr is a terminal; else a line a minute, so that short runs stay silent."""
    if quiet:
        yield lambda event: None
    elif not sys.stderr.isatty():
        yield _Lines(name)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        with Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            console=Console(stderr=True),
        ) as bar:
            task = bar.add_task(name, total=None, state="")

            def show(event: "Event") -> None:
                bar.update(
                    task,
                    completed=event.images,
                    total=event.images_expected,
                    state=state_text(event),
                )

            yield show


def state_text(event: "Event") -> str:
    """Best so far, images saved, time left."""
    parts = []
    if event.best:
        value = "" if event.best_value is None else f" {event.best_value:.4f}"
        parts.append(f"best {event.best}{value}")
    if event.images_saved:
        parts.append(f"saved {event.images_saved}")
    if event.eta_s is not None and event.kind != "end":
        minutes, seconds = divmod(round(event.eta_s), 60)
        parts.append(f"ETA {minutes}:{seconds:02d}")
    return "  ".join(parts)


class _Lines:
    """For logs: one line a minute."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = time.monotonic() + LINE_EVERY_S

    def __call__(self, event: "Event") -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_S
            counts = f"{event.images}/{event.images_expected} images"
            print(f"{self._name}: {counts}  {state_text(event)}", file=sys.stderr)
