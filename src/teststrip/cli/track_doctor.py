"""`teststrip track doctor`: looks at a tracking server as a client does."""

from typing import Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json


def doctor(
    address: Annotated[
        str | None,
        typer.Argument(metavar="[URL]", help="The server; MLFLOW_TRACKING_URI if left out."),
    ] = None,
    large: Annotated[
        int,
        typer.Option("--large", min=0, max=20_000, metavar="MB", help="Also send so large a file."),
    ] = 0,
    experiment: Annotated[
        str,
        typer.Option("--experiment", metavar="NAME", help="Write the run there; else in its own."),
    ] = "",
    timeout: Annotated[
        float, typer.Option("--timeout", min=1.0, metavar="SECONDS", help="For each answer.")
    ] = 30.0,
    as_json: Json = False,
) -> None:
    """Check a tracking server as its clients see it, and say what to mend. Exit 1 if any fails.

    Name, TLS, log-in, Host header, clock, versions; a run, pictures, a champion; speed; whether
    strangers come in. What it makes there it takes away again. The log-in is that of MLflow's
    clients: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN.

    \b
    Examples:
      teststrip track doctor https://mlflow.example.org
      teststrip track doctor --large 64 --json
    """
    from teststrip.wire.track_client import doctor as asked

    report = asked(address, large_mb=large, experiment=experiment, timeout_s=timeout)
    verbs.show(report.as_dict(), as_json, str(report))
    if not report.ok:
        raise typer.Exit(1)
