"""`teststrip track`: the tracking server, its users, and what a client knows of it."""

import typer

from teststrip.cli import track_server

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="MLflow for a team: serve it, check it, keep it in order.",
)
app.command()(track_server.serve)
