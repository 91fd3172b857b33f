"""`teststrip train select`: which checkpoint, at which scale, or why none."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Quiet
from teststrip.errors import ConfigError


class Measure(StrEnum):
    """What may decide."""

    both = "both"
    loss = "loss"
    score = "score"


Run = Annotated[str, typer.Argument(metavar="RUN", help="A training run in TESTSTRIP_HOME.")]


def select(  # noqa: PLR0917 - typer calls it by name
    run: Run,
    by: Annotated[
        Measure, typer.Option("--by", help="Held-out loss, the pictures' score, or both.")
    ] = Measure.both,
    score: Annotated[
        str | None,
        typer.Option("--score", metavar="S", help="Which score; else likeness, else the first."),
    ] = None,
    scales: Annotated[
        str, typer.Option("--scales", metavar="A,B", help="Scales to try the answer at.")
    ] = "0.5,0.75,1,1.25",
    prompts: Annotated[
        Path | None,
        typer.Option("--prompts", metavar="FILE", help="For that; else the run's own."),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", metavar="N", min=1, help="At most so many checkpoints.")
    ] = 4,
    sweep: Annotated[
        bool, typer.Option("--sweep/--no-sweep", help="Try checkpoint x scale on new pictures.")
    ] = True,
    copy_limit: Annotated[
        float | None,
        typer.Option("--copy-limit", metavar="X", help="Nearness that is a copy; else held-out's."),
    ] = None,
    register: Annotated[
        str | None,
        typer.Option("--register", metavar="NAME", help="In MLflow, with alias challenger."),
    ] = None,
    track: Annotated[bool, typer.Option("--track/--no-track", help="Record it in MLflow.")] = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Select a run's checkpoint by paired evidence, and its scale by a study.

    Held-out loss and the pictures' score decide which checkpoints are better than the base model
    and cannot be told from the best; a study `checkpoint x scale` on new seeds picks one of them,
    and prompts that nothing has seen confirm it. Refuses (exit 1) where the evidence is weak, and
    says what would settle it. Writes select.json beside the run.

    \b
    Examples:
      teststrip train select ink
      teststrip train select ink --no-sweep
      teststrip train select ink --prompts prompts.txt --scales 0.6,0.8,1 --register ink-style
    """
    from teststrip.cli.progress import progress_bar
    from teststrip.config import parse
    from teststrip.study.prompts import Prompts, read_prompts
    from teststrip.train.select.rule import Options
    from teststrip.train.select.sweep import Sweep
    from teststrip.wire import Bench, settings
    from teststrip.wire.selecting import select as selected

    bench = Bench(settings().home, track)
    texts: tuple[str, ...] = ()
    if prompts is not None:
        items = parse(Prompts, {"items": read_prompts(prompts)}, str(prompts)).items
        texts = tuple(item.text for item in items)
    wanted = Sweep(_numbers(scales), texts, top) if sweep else None
    options = Options(by=by.value, score=score, copy_limit=copy_limit)
    with progress_bar(run, quiet=quiet) as on_event:
        found = selected(bench, run, options, wanted, register, on_event)
    verbs.show(found.as_dict(), as_json, str(found))


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--scales {text!r}: write numbers such as 0.5,1") from None
