"""`teststrip track outbox`: what waits for a tracking server that was away."""

from typing import Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json
from teststrip.wire import settings


def outbox(
    deliver: Annotated[
        bool, typer.Option("--deliver", help="Deliver it to the server of MLFLOW_TRACKING_URI.")
    ] = False,
    moved: Annotated[
        bool, typer.Option("--moved", help="That server has a new address: deliver all to it.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what waits on this machine for a tracking server that was away, or deliver it.

    A study, training or search that loses its server goes on; what it would have recorded is
    delivered by itself, by the next command on it, or by this one: once, in order. Exit 1 where
    something still waits after --deliver.

    \b
    Examples:
      teststrip track outbox
      teststrip track outbox --deliver
    """
    from teststrip.errors import ConfigError
    from teststrip.wire import outbox as wired

    if moved and not deliver:
        raise ConfigError("--moved: goes with --deliver")
    home = settings().home
    found = wired.deliver(home, moved=moved) if deliver else wired.waiting(home)
    verbs.show(found.as_dict(), as_json, str(found))
    if deliver and found.waiting:
        raise typer.Exit(1)
