"""A training's progress on stderr: steps, losses, time left."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from teststrip.train.result import Event

LINE_EVERY_S = 60.0


@contextmanager
def train_progress(name: str) -> "Iterator[Callable[[Event], None]]":
    """A bar where stderr is a terminal; else a line a minute, so that short runs stay silent."""
    if not sys.stderr.isatty():
        yield _Lines(name)
        return
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
        TextColumn("{task.fields[state]}", markup=False),
        console=Console(stderr=True),
    ) as bar:
        tasks: dict[str, Any] = {}

        def show(event: "Event") -> None:
            what = f"{name}: {event.text}" if event.kind == "prepare" else name
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=event.steps, state="")
            bar.update(tasks[what], completed=event.step, state=state_text(event))
            if event.kind == "rolled_back":
                bar.print(f"{name}: {event.text}")

        yield show


def state_text(event: "Event") -> str:
    """The losses."""
    shown = (("loss", "loss"), ("val_loss", "held-out"))
    return "  ".join(f"{word} {event.numbers[k]:.4f}" for k, word in shown if k in event.numbers)


class _Lines:
    """For logs: one line a minute, and whatever went wrong."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._next = time.monotonic() + LINE_EVERY_S

    def __call__(self, event: "Event") -> None:
        if event.kind == "rolled_back":
            print(f"{self._name}: {event.text}", file=sys.stderr)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINE_EVERY_S
            what = event.text if event.kind == "prepare" else "step"
            count = f"{what} {event.step}/{event.steps}"
            print(f"{self._name}: {count}  {state_text(event)}", file=sys.stderr)
