"""Requests -> files in a folder, with a progress bar where it takes long."""

import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from teststrip.errors import StorageError
from teststrip.files import storage_error, write_atomic
from teststrip.protocols import OnProgress
from teststrip.recipe import Request
from teststrip.records import Failure, Generation, Outcome, Progress

QUIET_S = 3.0
Generate = Callable[[Iterable[Request], OnProgress | None], Iterator[Outcome]]


def file_name(generation: Generation) -> str:
    """`a-red-apple-7-3fa4c21b.png`: what it shows, its seed, the start of its image key."""
    block = generation.request.block
    slug = re.sub(r"[^\w]+", "-", block.prompt.lower())[:40].strip("-_") or "image"
    return f"{slug}-{block.seed}-{generation.image_key[:8]}.png"


def save(generation: Generation, folder: Path) -> Path:
    """Write the picture; a different file of that name stays, ours gets `-2`, `-3`, ...

    Raises StorageError when the folder may not be written to.
    """
    name = Path(file_name(generation))
    for count in range(1, 1000):
        path = folder / (name if count == 1 else f"{name.stem}-{count}{name.suffix}")
        try:
            if path.read_bytes() == generation.png:
                return path
        except FileNotFoundError:
            write_atomic(path, generation.png)
            return path
        except OSError as exc:
            raise storage_error(path, exc) from exc
    raise StorageError(
        f"{folder / name}: a thousand other files have that name; choose another --out"
    )


def make(generate: Generate, requests: Sequence[Request]) -> Iterator[Outcome]:
    """Outcomes as they finish; a bar shows on a terminal from the third second on."""
    with progress_bar(sum(request.recipe.model_calls for request in requests)) as on_progress:
        yield from generate(requests, on_progress)


@contextmanager
def progress_bar(calls_total: int) -> Iterator[OnProgress]:
    """A bar on stderr with time left, exact because it counts model calls.

    Silent for the first seconds and where stderr is no terminal.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("model calls"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    bar = Bar(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=calls_total)
    begun = time.perf_counter()
    is_terminal = sys.stderr.isatty()
    is_shown = False

    def on_progress(_: Progress) -> None:
        nonlocal is_shown
        if is_terminal and not is_shown and time.perf_counter() - begun > QUIET_S:
            bar.start()
            is_shown = True
        bar.advance(task)

    try:
        yield on_progress
    finally:
        if is_shown:
            bar.stop()


def image_row(generation: Generation, path: Path) -> dict[str, Any]:
    """A made image as `--json` shows it."""
    request = generation.request
    return {
        "file": str(path),
        "image_key": generation.image_key,
        "prompt": request.block.prompt,
        "seed": request.block.seed,
        "recipe_id": request.recipe.recipe_id,
        "recipe": request.recipe.model_dump(mode="json"),
        "seconds": round(generation.seconds, 4),
        "model_calls": generation.model_calls,
    }


def failure_row(failure: Failure) -> dict[str, Any]:
    """An image that could not be made as `--json` shows it."""
    block = failure.request.block
    return {"prompt": block.prompt, "seed": block.seed, "reason": failure.reason}
