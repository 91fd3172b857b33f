"""`teststrip project`: a pipeline in a git repository, with a report on every change."""

from pathlib import Path
from typing import Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Quiet

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="A versioned pipeline: prepare, train, select, infer, with a report on every change.",
)
Root = Annotated[
    Path, typer.Option("--project", metavar="DIR", help="The project's folder.", show_default=True)
]
Stages = Annotated[
    list[str] | None, typer.Argument(metavar="[STAGE]...", help="Of them; else all, in order.")
]


@app.command()
def init(  # noqa: PLR0917 - the verb's flags
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="New, or empty.")],
    kind: Annotated[
        str, typer.Option("--kind", metavar="dreambooth|lora|study", help="What it makes.")
    ] = "dreambooth",
    ci: Annotated[
        str, typer.Option("--ci", metavar="gitlab|github", help="Whose jobs run it.")
    ] = "gitlab",
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="builtin, a folder or a hub id.")
    ] = "builtin",
    remote: Annotated[
        str, typer.Option("--remote", metavar="URL", help="Where DVC keeps results.")
    ] = "s3://teststrip-projects",
    endpoint: Annotated[
        str, typer.Option("--endpoint", metavar="URL", help="Of an S3 server that is not AWS.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Make a new project: pipeline, parameters, sample pictures, CI, README. It runs as it is.

    \b
    Examples:
      teststrip project init subject
      teststrip project init style --kind lora --ci github
      teststrip project init shop --remote s3://models/shop --endpoint https://s3.example.org
    """
    from teststrip.project.init import init as made

    found = made(folder, kind=kind, ci=ci, model=model, remote=remote, endpoint=endpoint)
    verbs.show(found.as_dict(), as_json, str(found))


@app.command()
def run(
    stages: Stages = None,
    root: Root = Path(),
    track: Annotated[bool, typer.Option("--track/--no-track", help="Record it in MLflow.")] = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run stages of a project; `dvc repro` calls it for each stage that is out of date.

    Without names: all that are out of date by their lock records, without DVC. A stage that was
    killed goes on where it was; its outputs are whole or not there.

    \b
    Examples:
      dvc repro
      teststrip project run train
      teststrip project run
    """
    from teststrip.cli.project_progress import progress
    from teststrip.wire.project_run import run_stages
    from teststrip.wire.training import speaks

    with progress(quiet or not speaks()) as shown:
        found = run_stages(root, stages or (), track=track, progress=shown)
    if speaks():
        verbs.show(found.as_dict(), as_json, str(found))


@app.command()
def verify(
    stages: Stages = None,
    root: Root = Path(),
    quick: Annotated[
        bool, typer.Option("--quick", help="Only compare hashes; run nothing again.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run stages again in an empty folder and compare what comes out with what is here. Exit 1: no.

    On a CPU every byte must be the same. On a GPU, or on another machine than the lock record
    names, a stated tolerance holds.

    \b
    Examples:
      teststrip project verify
      teststrip project verify infer
      teststrip project verify --quick
    """
    from teststrip.cli.project_progress import progress
    from teststrip.wire.project_verify import verify as verified

    with progress(quiet) as shown:
        found = verified(root, stages or (), quick=quick, progress=shown)
    verbs.show(found.as_dict(), as_json, str(found))
    if not found.ok:
        raise typer.Exit(1)


@app.command()
def report(
    base: Annotated[
        str, typer.Option("--base", metavar="REF", help="Git revision that it is compared with.")
    ],
    root: Root = Path(),
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Else comparison/.")
    ] = None,
    post: Annotated[
        bool | None,
        typer.Option("--post/--dry-run", help="On the merge request; else only in its CI job."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what changed since a revision: parameters, scores with intervals, pictures, verdict.

    Writes index.html (whole in one file), report.md and its pictures. In a merge request's job it
    becomes one comment there, brought up to date at each call; the token is read from
    TESTSTRIP_GITLAB_TOKEN or GITHUB_TOKEN. Elsewhere it says what it would post.

    \b
    Examples:
      teststrip project report --base main
      teststrip project report --base HEAD~1 --out /tmp/report
    """
    from teststrip.wire.project_report import report as written

    found = written(root, base, out=out, post=post)
    verbs.show(found.as_dict(), as_json, str(found))
    if not found.ok:
        raise typer.Exit(1)


@app.command()
def doctor(
    root: Root = Path(),
    offline: Annotated[bool, typer.Option("--offline", help="Ask no remote.")] = False,
    as_json: Json = False,
) -> None:
    """Look at a project: git, DVC, parameters, pipeline, data, remote; say what to mend. Exit 1.

    \b
    Example:
      teststrip project doctor --offline
    """
    from teststrip.project.doctor import examine

    found = examine(root, offline=offline)
    verbs.show(found.as_dict(), as_json, str(found))
    if not found.ok:
        raise typer.Exit(1)
