"""`teststrip service keys|dead|status|ratings`: what an operator asks."""

import logging
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json
from teststrip.wire import settings

keys = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="API keys: who may ask.")
dead = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Jobs that the queue gave up, and why."
)


def read_settings() -> Any:
    """The service's settings. Raises ConfigError."""
    from teststrip.serve.environment import read_config

    for name in ("aio_pika", "aiormq"):  # a server that is away is told once, in our words
        logging.getLogger(name).setLevel(logging.CRITICAL)
    return read_config()


@keys.command()
def add(  # noqa: PLR0917 - typer calls it by name
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who or what will use it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help="generate (the default), people, study, admin; repeatable.",
            show_default=False,
        ),
    ] = None,
    per_minute: Annotated[
        int, typer.Option("--per-minute", min=0, help="Jobs a minute; 0: no limit.")
    ] = 0,
    images_per_day: Annotated[
        int, typer.Option("--images-per-day", min=0, help="0: no limit.")
    ] = 0,
    max_queued: Annotated[
        int, typer.Option("--max-queued", min=0, help="Jobs that wait at once; 0: the service's.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Make a key and show it, this once: only its hash is kept.

    \b
    Scopes:
      generate  jobs of programs
      people    jobs that somebody waits for: they go first
      study     sweeps, which go last, and recipes with adapters by path
      admin     everybody's jobs, and the service's numbers

    \b
    Example:
      TESTSTRIP_SERVICE_KEYS_FILE=keys.json teststrip service keys add shop --scope generate
    """
    ring, path, is_used = _ring()
    key, secret = ring.add(
        name,
        scope or ("generate",),
        per_minute=per_minute,
        images_per_day=images_per_day,
        max_queued=max_queued,
    )
    data = {"key": secret, "id": key.id, "name": key.name, "scopes": list(key.scopes)}
    hint = "" if is_used else f"\nthe service asks for keys with TESTSTRIP_SERVICE_KEYS_FILE={path}"
    verbs.show(
        data | {"file": str(path)}, as_json, f"{secret}\n(id {key.id}, not shown again){hint}"
    )


@keys.command("list")
def list_keys(as_json: Json = False) -> None:
    """All keys, without their secrets.

    \b
    Example:
      teststrip service keys list --json
    """
    ring, path, _ = _ring()
    rows = [key.model_dump(exclude={"hash"}) for key in ring.list()]
    lines = [
        f"{row['id']}  {row['prefix']}...  {row['name']:24}  {', '.join(row['scopes'])}"
        f"  since {_day(row['created'])}"
        for row in rows
    ]
    verbs.show({"keys": rows, "file": str(path)}, as_json, "\n".join(lines) or f"no keys in {path}")


@keys.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID", help="Its id, or its name.")],
    as_json: Json = False,
) -> None:
    """Take a key away; running services see it within a second or so.

    \b
    Example:
      teststrip service keys revoke 3f2a91c07b5d
    """
    gone = _ring()[0].revoke(key)
    verbs.show({"id": gone.id, "name": gone.name}, as_json, f"revoked: {gone.id} ({gone.name})")


@keys.command()
def webhook(
    key: Annotated[
        str, typer.Argument(metavar="[ID]", help="A key's id or name; none: of this machine.")
    ] = "",
    as_json: Json = False,
) -> None:
    """The secret with which the owner of a key checks that a webhook came from this service.

    Deliveries are signed as Standard Webhooks (standardwebhooks.com). The secret follows from the
    service's own, so this must run where TESTSTRIP_SERVICE_SECRET (or _FILE) is that of the web.

    \b
    Example:
      teststrip service keys webhook shop
    """
    from teststrip.wire.service_admin import webhook_secret

    secret = webhook_secret(settings().home, read_settings(), key)
    verbs.show({"secret": secret}, as_json, secret)


@dead.command("list")
def list_dead(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most.")] = 100,
    as_json: Json = False,
) -> None:
    """Dead letters, the oldest first, with the reason and what became of the job since.

    \b
    Example:
      teststrip service dead list --json
    """
    from teststrip.wire.service_admin import dead_letters

    rows = dead_letters(settings().home, read_settings(), limit)
    lines = [
        f"{row['key']}  {_day(row['died'])}  {row['state']:9}  {row['reason']}" for row in rows
    ]
    verbs.show({"dead": rows}, as_json, "\n".join(lines) or "no dead letters")


@dead.command()
def requeue(
    key: Annotated[str, typer.Argument(metavar="KEY", help="From `dead list`.")],
    as_json: Json = False,
) -> None:
    """Queue a failed job once more, with all its attempts; its finished pictures stay.

    \b
    Example:
      teststrip service dead requeue 0198c5d2f3a97c1e8b4d5a6f7e8d9c0b
    """
    from teststrip.wire.service_admin import requeue as again

    data = again(settings().home, read_settings(), key)
    verbs.show(data, as_json, f"{data['key']} is queued again")


def status(as_json: Json = False) -> None:
    """How the service is: its parts, jobs that wait and run, workers. Exit 1 if a part is away.

    \b
    Example:
      teststrip service status --json
    """
    from teststrip.wire.service_admin import status as asked

    data = asked(settings().home, read_settings())
    verbs.show(data, as_json, _text(data))
    if not all(data["ready"].values()):
        raise typer.Exit(1)


def ratings(
    model: Annotated[
        str | None, typer.Option("--model", metavar="NAME", help="Of this model alone.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", metavar="FILE", help="Also write them all: .parquet or .csv."),
    ] = None,
    as_json: Json = False,
) -> None:
    """What people thought of each champion: thumbs by version, with intervals.

    \b
    Examples:
      teststrip service ratings
      teststrip service ratings --table ratings.parquet && teststrip study analyze ratings.parquet
    """
    from teststrip.wire.ratings import ratings as asked

    report = asked(settings().home, model)
    data: dict[str, Any] = report.as_dict()
    text = str(report)
    if table is not None:
        data |= {"table": str(table), "rows": report.write(table)}
        text += f"\n{data['rows']} ratings in {table}"
    verbs.show(data, as_json, text)


def _ring() -> Any:
    from teststrip.wire.service_admin import keys as ring

    return ring(settings().home, read_settings())


def _day(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(when))


def _text(data: dict[str, Any]) -> str:
    ready = ", ".join(f"{name} {'ready' if yes else 'AWAY'}" for name, yes in data["ready"].items())
    lines = [f"{data['kind']}: {ready}"]
    lines += [f"  {name}: {why}" for name, why in data.get("faults", {}).items()]
    if "running" in data and data["kind"] == "one process":
        lines.append(f"running (process {data['pid']})" if data["running"] else "not running")
    if "waiting" in data:
        waits = ", ".join(f"{n} {priority}" for priority, n in data["waiting"].items())
        lines.append(f"waiting: {waits}; under way: {data['under_way']}")
    for card in data.get("workers", []):
        models = ", ".join(card["models"]) or "no model"
        drains = ", draining" if card["draining"] else ""
        lines.append(
            f"worker {card['name']}: {card['images']} of {card['slots']} slots, "
            f"{card['calls_per_s']} model calls/s, {models}{drains}"
        )
    if data.get("dead"):
        lines.append(f"{data['dead']} dead letters: teststrip service dead list")
    return "\n".join(lines)
