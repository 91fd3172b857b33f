"""`teststrip track users`: who may use a tracking server, and for what."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json
from teststrip.errors import ConfigError

if TYPE_CHECKING:
    from teststrip.track.users import Kind

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Users of a tracking server, their rights."
)
Server = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="MLFLOW_TRACKING_URI if left out."),
]
User = Annotated[str, typer.Argument(metavar="NAME", help="The user.")]
FromStdin = Annotated[
    bool, typer.Option("--stdin", help="Read the password from standard input, one line.")
]
Generate = Annotated[
    bool, typer.Option("--generate", help="Make a password and show it, this once.")
]


@app.command("list")
def list_users(server: Server = None, as_json: Json = False) -> None:
    """All users, administrators marked, with the rights that each was given.

    \b
    Example:
      teststrip track users list --json
    """
    from teststrip.wire.track_client import users

    rows = users(server).everybody()
    lines = []
    for row in rows:
        rights = ", ".join(f"{r['permission']} on {_thing(r)}" for r in row["rights"])
        told = "administrator: everything" if row["is_admin"] else rights or "no rights given"
        lines.append(f"{row['name']:24} {told}")
    verbs.show({"users": rows}, as_json, "\n".join(lines))


@app.command()
def add(  # noqa: PLR0917 - typer calls it by name
    name: User,
    admin: Annotated[bool, typer.Option("--admin", help="May do everything.")] = False,
    stdin: FromStdin = False,
    generate: Generate = False,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Add a user; without --stdin or --generate the password is asked for.

    A password is never an argument: other users of a machine can read those.

    \b
    Examples:
      teststrip track users add ada --generate
      teststrip track users add ci --stdin < password.txt
    """
    from teststrip.wire.track_client import users

    there = users(server)
    password = _password(name, stdin=stdin, generate=generate)
    there.add(name, password, is_admin=admin)
    _done(name, "added", password if generate else None, as_json)


@app.command()
def remove(
    name: User,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Take a user away. Runs and models that the user recorded stay.

    \b
    Example:
      teststrip track users remove ada --yes
    """
    from teststrip.wire.track_client import users

    there = users(server)
    if not yes:
        if not sys.stdin.isatty():
            raise ConfigError(f"user {name!r} is not removed without --yes")
        typer.confirm(f"remove {name!r}?", abort=True, err=True)
    there.remove(name)
    _done(name, "removed", None, as_json)


@app.command()
def password(
    name: User,
    stdin: FromStdin = False,
    generate: Generate = False,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Set a user's password. The old one is refused at once, on every worker within a minute.

    \b
    Example:
      teststrip track users password ada --generate
    """
    from teststrip.wire.track_client import users

    there = users(server)
    new = _password(name, stdin=stdin, generate=generate)
    there.set_password(name, new)
    _done(name, "password set", new if generate else None, as_json)


@app.command()
def grant(  # noqa: PLR0917 - typer calls it by name
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="Its name; 'teststrip' by default.")
    ],
    name: Annotated[str, typer.Argument(metavar="USER", help="Who gets the right.")],
    permission: Annotated[
        str,
        typer.Argument(metavar="PERMISSION", help="READ, EDIT, MANAGE, DENY; NONE takes it away."),
    ],
    model: Annotated[
        bool, typer.Option("--model", help="EXPERIMENT is the name of a registered model.")
    ] = False,
    server: Server = None,
    as_json: Json = False,
) -> None:
    """Give a user a right on an experiment, or on a registered model, in place of the one before.

    \b
    Rights:
      READ    see runs and pictures; what the service needs of its champion's model and runs
      EDIT    and record: studies, trainings
      MANAGE  and delete, and give rights to others; whoever makes an experiment has this

    \b
    Examples:
      teststrip track users grant teststrip ada EDIT
      teststrip track users grant poster-model service READ --model
    """
    from teststrip.wire.track_client import users

    kind: Kind = "registered_model" if model else "experiment"
    now = users(server).grant(experiment, name, permission.upper(), kind=kind)
    text = f"{now['user']} has {now['permission']} on {_thing(now | {'name': now['on']})}"
    verbs.show(now, as_json, text)


def _password(name: str, *, stdin: bool, generate: bool) -> str:
    if stdin and generate:
        raise ConfigError("--stdin and --generate are both given; one is accepted")
    if generate:
        from teststrip.track.users import new_password

        return new_password()
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise ConfigError(
            "nobody is here to be asked for a password: give --stdin (one line) or --generate"
        )
    return str(
        typer.prompt(f"password of {name}", hide_input=True, confirmation_prompt=True, err=True)
    )


def _thing(right: dict[str, str]) -> str:
    kind = right["kind"].replace("_", " ")
    return f"every {kind}" if right["name"] == "*" else f"{kind} {right['name']!r}"


def _done(name: str, what: str, made: str | None, as_json: bool) -> None:
    data = {"name": name, "done": what} | ({"password": made} if made else {})
    shown = f"\n{made}\n(not shown again)" if made else ""
    verbs.show(data, as_json, f"{name}: {what}{shown}")
