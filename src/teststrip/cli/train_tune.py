"""`teststrip train tune`: search the settings of a training."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Quiet

if TYPE_CHECKING:
    from teststrip.train.tune.job import Outcome


def tune(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The search's YAML file.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file; repeatable."),
    ] = None,
    track: Annotated[
        bool, typer.Option("--track/--no-track", help="Record search and trials in MLflow.")
    ] = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Search learning rate, rank and the like; every trial sees the same number of samples.

    Goes on where an earlier run of the same file stopped: what ended is not trained again, and a
    training that was cut goes on from its last checkpoint. A trial that diverges has failed and
    counts as no number. The best are trained again with new seeds before one is called the best.
    Ctrl-C stops after the next step.

    \b
    Examples:
      teststrip train tune tune.yaml
      teststrip train tune tune.yaml --set trials=32 --set design=sobol --set name=screen
      teststrip train tune tune.yaml --set backend=ray --set ray.gpus_per_trial=0.5
    """
    from teststrip.train.tune.config import TuneConfig
    from teststrip.wire import settings
    from teststrip.wire.tuning import tune as tuned

    config = TuneConfig.from_yaml(file, tuple(changes or ()))
    here = settings()
    on_event = None if quiet else _tell
    report = tuned(config, here.home, track=track, device=here.device, on_event=on_event)
    folder = here.home / "tunes" / config.name
    text = f"{report}\n  report  {folder / 'report.md'}"
    if report.state != "finished":
        text += f"\n  to go on: teststrip train tune {file}"
    elif report.best is not None:
        text += f"\n  to train it: teststrip train run {folder / 'best.yaml'}"
    verbs.show(report.as_dict() | {"folder": str(folder)}, as_json, text)
    if report.state != "finished":
        raise typer.Exit(1)


def _tell(outcome: "Outcome", ended: int, planned: int) -> None:
    """A line for each trial that ended, on stderr."""
    value = f" {outcome.value:.5g}" if outcome.value is not None else ""
    why = f": {outcome.why}" if outcome.why else ""
    print(f"{ended}/{planned} {outcome.name} {outcome.state}{value}{why}", file=sys.stderr)
