"""`teststrip service`: pictures as a service, in one process or on many machines."""

import sys
from typing import Annotated, Any

import typer

from teststrip.cli import service_admin, verbs
from teststrip.cli.verbs import Json
from teststrip.wire import settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Serve pictures: a page, an API, a queue that loses nothing.",
)

Host = Annotated[str, typer.Option("--host", help="Address to listen at.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")]
Root = Annotated[
    str, typer.Option("--root-path", metavar="PATH", help="Sub-path behind a proxy: /pictures.")
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option("--allow-host", metavar="NAME", help="Name it is reached by; repeatable."),
]


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    root_path: Root = "",
    allow_host: AllowHost = None,
    as_json: Json = False,
) -> None:
    """All in one process, no server needed: page, API, queue, engine, a folder of pictures.

    Jobs survive a crash or a stop: they are in TESTSTRIP_HOME/service and go on at the next start.
    Only this machine can reach it; another --host needs API keys (service keys add). Settings are
    TESTSTRIP_SERVICE_*, see docs/service.md.

    \b
    Examples:
      teststrip service up
      curl -X POST http://127.0.0.1:8000/api/jobs -H 'content-type: application/json' \\
        -d '{"prompt": "a red apple"}'
      TESTSTRIP_SERVICE_CHAMPION=studio-photos teststrip service up --port 8080
    """
    from teststrip.wire.service_run import serve_up

    address, config, say = _started("up", host, port, root_path, allow_host, as_json)
    serve_up(settings().home, config, address, say)


@app.command()
def web(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    root_path: Root = "",
    allow_host: AllowHost = None,
    as_json: Json = False,
) -> None:
    """Page and API alone, as many processes as you like; needs no torch.

    Needs TESTSTRIP_SERVICE_BROKER, _REDIS, _STORE and _SECRET, the same for all processes.

    \b
    Example:
      TESTSTRIP_SERVICE_BROKER=amqp://user:password@rabbitmq/ \\
      TESTSTRIP_SERVICE_REDIS=redis://redis/0 TESTSTRIP_SERVICE_STORE=s3://pictures \\
      TESTSTRIP_SERVICE_SECRET_FILE=secret TESTSTRIP_SERVICE_KEYS_FILE=keys.json \\
      teststrip service web --host 0.0.0.0
    """
    from teststrip.wire.service_run import serve_web

    address, config, say = _started("web", host, port, root_path, allow_host, as_json)
    serve_web(settings().home, config, address, say)


@app.command()
def worker(
    name: Annotated[
        str, typer.Option("--name", help="Its name in status and logs; else machine and process.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Make pictures: one worker for each GPU. SIGTERM: it finishes what flies, gives back the rest.

    Needs TESTSTRIP_SERVICE_BROKER, _REDIS and _STORE. TESTSTRIP_DEVICE and TESTSTRIP_MAX_ROWS
    choose the GPU and its batch.

    \b
    Example:
      CUDA_VISIBLE_DEVICES=0 TESTSTRIP_SERVICE_METRICS_PORT=9000 teststrip service worker
    """
    from teststrip.wire.service_run import serve_worker

    config = configured("worker")

    def say(shown: str) -> None:
        text = f"Teststrip worker {shown} takes jobs  (Ctrl-C ends it)"
        verbs.show({"worker": shown}, as_json, text)
        sys.stdout.flush()

    serve_worker(settings().home, config, name, say)


app.command()(service_admin.status)
app.command()(service_admin.ratings)
app.add_typer(service_admin.keys, name="keys")
app.add_typer(service_admin.dead, name="dead")


def configured(role: str) -> Any:
    """The settings, with logs and tracing of this process set up. Raises ConfigError."""
    config = service_admin.read_settings()
    from teststrip.serve.operate import logs, tracing

    logs.configure(role, config.log)
    tracing.configure(role)
    return config


def _started(  # noqa: PLR0917 - the flags of two verbs
    role: str, host: str, port: int, root_path: str, names: list[str] | None, as_json: bool
) -> tuple[Any, Any, Any]:
    from teststrip.cli.studio import root_of
    from teststrip.wire.service_admin import check_host
    from teststrip.wire.serving import Address

    config = configured(role)
    check_host(host, config)
    home = settings().home

    def say(shown: str) -> None:
        text = f"Teststrip service of {home}: {shown}  (Ctrl-C ends it)"
        verbs.show({"address": shown, "home": str(home)}, as_json, text)
        sys.stdout.flush()  # also where a script waits for the address

    return Address(host, port, root_of(root_path), tuple(names or ())), config, say
