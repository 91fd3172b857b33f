"""`teststrip study confirm`, `export`, `promote`: from the search's leader to a champion."""

from typing import Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Name, Out, Quiet
from teststrip.wire import Bench, settings

Track = Annotated[bool, typer.Option("--track/--no-track", help="Record it in MLflow.")]


def confirm(  # noqa: PLR0917 - typer calls it by name
    name: Name,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many leaders.")] = 3,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", min=1, help="For each prompt; else the study's own."),
    ] = None,
    out: Out = None,
    track: Track = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run the leaders and the baseline on held-out prompts and fresh seeds.

    The images that chose a winner flatter it; these do not. They join the study's table, and its
    report is written anew. What was confirmed before stays in: every leader that was ever
    confirmed counts in the correction for many comparisons.

    \b
    Examples:
      teststrip study confirm first
      teststrip study confirm first --top 1 --seeds 8
    """
    from teststrip.cli.progress import progress_bar
    from teststrip.wire import confirming

    bench = Bench(settings().home, track)
    with progress_bar(name, quiet=quiet) as on_event:
        found = confirming.confirm(bench, name, top, seeds, on_event, out)
    verbs.show(found.as_dict(), as_json, str(found))
