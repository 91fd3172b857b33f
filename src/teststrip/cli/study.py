"""`teststrip study`: plan, run and resume a search over recipes; list and show what there is."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Name, Out, Quiet
from teststrip.errors import ConfigError
from teststrip.wire import REPORT, Bench, settings

if TYPE_CHECKING:
    from teststrip.study import Study

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Find recipes that are really better."
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="The study's YAML file.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the file; repeatable."),
]
Track = Annotated[bool, typer.Option("--track/--no-track", help="Record the study in MLflow.")]


@app.command()
def plan(  # noqa: PLR0917 - typer calls it by name
    file: File,
    changes: Changes = None,
    seconds_per_image: Annotated[
        float | None,
        typer.Option("--seconds-per-image", metavar="S", help="Your model's speed; no probe then."),
    ] = None,
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Make three images to measure the speed.")
    ] = True,
    price_per_hour: Annotated[
        float | None,
        typer.Option("--price-per-hour", metavar="P", help="Of the machine, for the cost."),
    ] = None,
    currency: Annotated[str, typer.Option("--currency", help="What the price is in.")] = "EUR",
    like: Annotated[
        str | None,
        typer.Option("--like", metavar="NAME", help="Earlier study to take the variances from."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a study will cost and which differences it can tell, before it is run.

    Three images are made to measure the speed, and thrown away; nothing is written.

    \b
    Examples:
      teststrip study plan study.yaml --price-per-hour 2.50
      teststrip study plan study.yaml --set design.trials=64 --seconds-per-image 2.5
      teststrip study plan study.yaml --no-probe --like first
    """
    from teststrip.study import Study
    from teststrip.wire.planning import outlook, spread_like

    study = Study.from_yaml(file, changes or ())
    goal = study.config.objectives[study.config.primary].score
    found = outlook(
        study,
        beside=file.resolve().parent,
        seconds_per_image=seconds_per_image,
        probe=probe,
        price_per_hour=price_per_hour,
        currency=currency,
        spread=spread_like(like, settings().home, goal) if like else None,
    )
    verbs.show(found.as_dict(), as_json, str(found))


@app.command()
def run(  # noqa: PLR0917 - typer calls it by name
    file: File,
    changes: Changes = None,
    generator: Annotated[
        str | None,
        typer.Option("--generator", metavar="NAME", help="Who makes the pictures, in its place."),
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="Of a service that makes them.")
    ] = None,
    out: Out = None,
    track: Track = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run a study file and write its report; goes on where an earlier run of it stopped.

    Ctrl-C stops at the next image. Nothing that was made is made again. A service's key is read
    from TESTSTRIP_SERVICE_KEY; its people come before a study.

    \b
    Examples:
      teststrip study run study.yaml
      teststrip study run study.yaml --set budget.images=400 --set name=short
      teststrip study run study.yaml --generator service --url http://127.0.0.1:8000
    """
    bench = Bench(settings().home, track)
    made_by = _generator(generator, url)
    study = bench.study_from(file, [*(changes or ()), *made_by])
    _run(bench, study, out, quiet=quiet, as_json=as_json)


@app.command()
def resume(  # noqa: PLR0917 - typer calls it by name
    name: Name,
    changes: Changes = None,
    out: Out = None,
    track: Track = True,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also where the study had come to its end.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Go on with a study that was stopped or killed. Its budget may grow, nothing else may change.

    \b
    Examples:
      teststrip study resume first
      teststrip study resume first --retry-failed
      teststrip study resume first --set budget.images=800
    """
    bench = Bench(settings().home, track)
    study = bench.study_named(name, changes or ())
    study.retry_failed = retry_failed
    _run(bench, study, out, quiet=quiet, as_json=as_json)


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the studies in TESTSTRIP_HOME.

    \b
    Example:
      teststrip study list --json
    """
    from teststrip.study import Study

    found = Study.list()
    lines = [
        f"{s['name']:24} {s['state']:9} {_or_dash(s.get('design')):9} "
        f"{_or_dash(s.get('images')):>6} images  "
        f"best {_or_dash(s.get('best_id'))} {_number(s.get('best_value'))}"
        for s in found
    ]
    verbs.show(found, as_json, "\n".join(lines) or "no studies yet: teststrip study run FILE")


@app.command()
def show(name: Name, as_json: Json = False) -> None:
    """Show a study's state, and its result if it has one.

    \b
    Example:
      teststrip study show first
    """
    from teststrip.study.study import record_of

    record = record_of(name)
    result = record.get("result")
    text = f"{name}: {record.get('state')}"
    if record.get("state") not in ("finished", "budget", "imported"):
        text += f"; go on with: teststrip study resume {name}"
    if result:
        text += f"\n{json.dumps(result, indent=1, ensure_ascii=False)}"
    verbs.show(record, as_json, text)


def _generator(name: str | None, url: str | None) -> list[str]:
    """`--generator` and `--url` as a change of the study file."""
    if url is not None and name != "service":
        raise ConfigError("--url is of a service: add --generator service")
    if name is None:
        return []
    options = {} if url is None else {"url": url}
    return [f"generator={json.dumps({'name': name, 'options': options})}"]


def _run(bench: Bench, study: "Study", out: Path | None, *, quiet: bool, as_json: bool) -> None:
    from teststrip.cli.progress import progress_bar

    over = study.state == "finished"
    with progress_bar(study.config.name, quiet=quiet) as on_event:
        result = bench.run(study, on_event, out)
    page = (out or bench.report_folder(result.name)) / REPORT
    note = " (nothing was left to do)" if over and not result.images_now else ""
    text = f"{result}{note}\n  report             {page}"
    verbs.show(result.as_dict() | {"report": str(page)}, as_json, text)


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
