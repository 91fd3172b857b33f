"""`teststrip train`: LoRA and DreamBooth, resumed after any stop."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from teststrip.cli import train_export, train_select, train_tune, verbs
from teststrip.cli.verbs import Json, Quiet

if TYPE_CHECKING:
    from teststrip.train.result import Result

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Fine-tune a model; keep the checkpoint that the evidence picks.",
)

Track = Annotated[bool, typer.Option("--track/--no-track", help="Record the run in MLflow.")]


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The run's YAML file.")],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file; repeatable."),
    ] = None,
    track: Track = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Train what a file says; goes on where an earlier run of it stopped.

    Ctrl-C stops after the step, with a checkpoint. A run whose loss or gradient breaks is stopped
    before it reaches the weights (exit 1, with what to try). On several GPUs: accelerate launch.

    \b
    Examples:
      teststrip train run ink.yaml
      teststrip train run ink.yaml --set steps=200 --set name=short
      accelerate launch --num_processes 2 -m teststrip train run ink.yaml
    """
    from teststrip.wire.training import train_file

    with _bar(file.stem, quiet) as on_event:
        result = train_file(file, changes or (), track=track, on_event=on_event)
    _show(result, as_json)


@app.command()
def resume(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A run that was started.")],
    track: Track = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Go on with a run that was stopped or killed, from its newest checkpoint.

    It ends with the weights that it would have had without the stop.

    \b
    Example:
      teststrip train resume ink
    """
    from teststrip.wire.training import train_named

    with _bar(name, quiet) as on_event:
        result = train_named(name, track=track, on_event=on_event)
    _show(result, as_json)


def _bar(name: str, quiet: bool) -> AbstractContextManager[Any]:
    from teststrip.cli.train_progress import train_progress
    from teststrip.wire.training import speaks

    return train_progress(name) if speaks() and not quiet else nullcontext()


def _show(result: "Result", as_json: bool) -> None:
    from teststrip.wire.training import speaks

    if speaks():
        verbs.show(result.as_dict(), as_json, _text(result))
    if result.state != "finished":
        raise typer.Exit(1)


def _text(result: "Result") -> str:
    losses = [
        f"{what} {value:.4f}"
        for what, value in (("loss", result.loss), ("held-out loss", result.val_loss))
        if value is not None
    ]
    lines = [
        f"{result.name}: {result.state} at step {result.steps}, "
        + ", ".join([f"{result.samples_seen} pictures seen", *losses])
    ]
    if result.state != "finished":
        lines.append(f"  {result.why}")
    if result.skipped:
        lines.append(f"  {result.skipped} steps were skipped: loss or gradient was no number")
    if result.checkpoint is not None:
        lines.append(f"  checkpoint         {result.checkpoint}")
    following = {
        "finished": f"teststrip train select {result.name}",
        "stopped": f"teststrip train resume {result.name}",
    }
    if result.state in following:
        lines.append(f"  next               {following[result.state]}")
    return "\n".join(lines)


app.command()(train_select.select)
app.command()(train_export.export)
app.command()(train_tune.tune)
