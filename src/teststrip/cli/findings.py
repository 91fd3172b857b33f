"""`teststrip study report`, `analyze`, `compare`: what a study, or any table of images, found."""

from pathlib import Path
from typing import Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Name, Out
from teststrip.wire import Bench, settings


def report(name: Name, out: Out = None, as_json: Json = False) -> None:
    """Say what a study that ended has found, and write its report: page, comment, sheet, numbers.

    A study that is not here is read from MLflow (MLFLOW_TRACKING_URI).

    \b
    Example:
      teststrip study report first --out report
    """
    bench = Bench(settings().home, track=False)
    found = bench.report(name, out)
    folder = out or bench.report_folder(name)
    paths = {file: str(folder / file) for file in found.files}
    verbs.show(paths, as_json, "\n".join([found.brief, *paths.values()]))


def analyze(  # noqa: PLR0917 - typer calls it by name
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="A .parquet or .csv file.")],
    score: Annotated[
        list[str] | None,
        typer.Option("--score", metavar="COL", help="Score; the first decides. Repeatable."),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option("--setting", metavar="COL", help="Setting of a recipe. Repeatable."),
    ] = None,
    recipe: Annotated[str | None, typer.Option("--recipe", metavar="COL")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", metavar="COL")] = None,
    seed: Annotated[str | None, typer.Option("--seed", metavar="COL")] = None,
    status: Annotated[str | None, typer.Option("--status", metavar="COL")] = None,
    seconds: Annotated[str | None, typer.Option("--seconds", metavar="COL")] = None,
    split: Annotated[str | None, typer.Option("--split", metavar="COL")] = None,
    baseline: Annotated[
        str | None,
        typer.Option("--baseline", metavar="ID", help="Or its settings: steps=20,guidance=7.5."),
    ] = None,
    lower_is_better: Annotated[bool, typer.Option("--lower-is-better")] = False,
    threshold: Annotated[
        float | None, typer.Option("--threshold", metavar="X", help="A score that is good enough.")
    ] = None,
    delta: Annotated[
        float | None, typer.Option("--delta", metavar="X", help="A difference too small to matter.")
    ] = None,
    design: Annotated[
        str | None,
        typer.Option("--design", metavar="KIND", help="How recipes were chosen: sobol, grid, tpe."),
    ] = None,
    votes: Annotated[
        Path | None, typer.Option("--votes", metavar="FILE", help="Blind votes, .csv or .json.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Title; else the file's name.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", metavar="DIR", help="Where column `png` leads.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the whole report there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The evidence for anybody's table of images: one row each, made by whatever tool.

    Needed are settings (or a recipe id), a prompt and a score; a seed makes it paired. Columns that
    no flag names are told apart by their names and values, and what was assumed is said.

    \b
    Examples:
      teststrip study analyze images.parquet
      teststrip study analyze grid.csv --score clip --baseline steps=20,cfg=7
      teststrip study analyze grid.csv --score lpips --lower-is-better --out report
    """
    from teststrip.evidence.roles import Given
    from teststrip.wire.analysing import Wishes, analyse_table, summary_of, write_report

    given = Given(
        scores=tuple(score or ()),
        settings=tuple(setting or ()),
        recipe=recipe,
        prompt=prompt,
        seed=seed,
        status=status,
        seconds=seconds,
        split=split,
    )
    wishes = Wishes(baseline, lower_is_better, threshold, delta, design, votes, name)
    found = analyse_table(table, given, wishes)
    files = write_report(found, images or table.parent, out) if out else {}
    written = "".join(f"\n{path}" for path in files.values())
    verbs.show(summary_of(found) | {"files": files}, as_json, f"{found}{written}")


def compare(
    name: Name,
    a: Annotated[str, typer.Argument(metavar="A", help="A recipe's id, or its start.")],
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="Another; else the baseline.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare two recipes of a study on the images that both have.

    \b
    Examples:
      teststrip study compare first 4f2a
      teststrip study compare first 4f2a 91c0 --json
    """
    from teststrip.wire.comparing import compare_recipes

    found = compare_recipes(name, a, b, settings().home)
    verbs.show(found.as_dict(), as_json, str(found))
