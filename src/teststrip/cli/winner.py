"""`teststrip study confirm`: is the winner one on fresh images?"""

from typing import Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Name, Quiet
from teststrip.wire import Bench, settings


def confirm(
    name: Name,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many leaders.")] = 3,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", min=1, help="For each prompt; else the study's own."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run the leaders and the baseline on held-out prompts and fresh seeds.

    The images that chose a winner flatter it; these do not. They join the study's table.

    \b
    Example:
      teststrip study confirm first --top 3 --seeds 8
    """
    from teststrip.cli.progress import progress_bar

    study = Bench(settings().home, track=False).study_named(name)
    with progress_bar(name, quiet=quiet) as on_event:
        found = study.confirm(top, seeds, on_event)
    verbs.show(found.as_dict(), as_json, str(found))
