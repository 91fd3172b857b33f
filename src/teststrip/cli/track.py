"""`teststrip track`: the tracking server, its users, and what a client knows of it."""

import typer

from teststrip.cli import track_doctor, track_outbox, track_server, track_users

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="MLflow for a team: serve it, check it, keep it in order.",
)
app.command()(track_server.serve)
app.command()(track_server.migrate)
app.command()(track_server.gc)
app.command()(track_server.backup)
app.command()(track_server.restore)
app.command()(track_doctor.doctor)
app.command()(track_outbox.outbox)
app.add_typer(track_users.app, name="users")
