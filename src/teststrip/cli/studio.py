"""`teststrip studio`: the web app, and the index behind it."""

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json
from teststrip.errors import ConfigError
from teststrip.wire import settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at images by condition, compare, rate, see the evidence.",
)
PASSWORD = "TESTSTRIP_STUDIO_PASSWORD"  # noqa: S105 - the variable's name


@app.command()
def serve(  # noqa: PLR0917 - typer calls it by name
    host: Annotated[str, typer.Option("--host", help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes any free one.")
    ] = 8000,
    root_path: Annotated[
        str, typer.Option("--root-path", metavar="PATH", help="Sub-path behind a proxy: /studio.")
    ] = "",
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Name it is reached by; repeatable."),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open it in the browser.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Serve the studio until Ctrl-C: the studies under TESTSTRIP_HOME, also while they run.

    Only this machine can reach it. Another --host needs a password of 12 characters or more in
    TESTSTRIP_STUDIO_PASSWORD, or in a file that TESTSTRIP_STUDIO_PASSWORD_FILE names.

    \b
    Examples:
      teststrip studio serve --open
      TESTSTRIP_HOME=demo/data teststrip studio serve --port 8080
      teststrip studio serve --host 0.0.0.0 --allow-host lab.example.org --root-path /studio
    """
    from teststrip.wire.serving import Address, serve

    home = settings().home

    def say(shown: str) -> None:
        text = f"Teststrip studio of {home}: {shown}  (Ctrl-C ends it)"
        verbs.show({"address": shown, "home": str(home)}, as_json, text)
        sys.stdout.flush()  # also where a script waits for the address

    address = Address(host, port, root_of(root_path), tuple(allow_host or ()))
    serve(home, address, password=password(), browser=browser, say=say)


@app.command()
def index(
    from_mlflow: Annotated[
        bool, typer.Option("--from-mlflow", help="Bring studies that are only in MLflow.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Build the studio's index anew; with --from-mlflow, of studies on the tracking server too.

    `studio serve` keeps the index up to date by itself, so this is for studies that were run
    elsewhere (MLFLOW_TRACKING_URI), and to see what the index makes of each study.

    \b
    Examples:
      teststrip studio index
      MLFLOW_TRACKING_URI=https://mlflow.example.org teststrip studio index --from-mlflow --json
    """
    from teststrip.wire.bringing import bring_from_mlflow
    from teststrip.wire.studio import parts

    home = settings().home
    brought = bring_from_mlflow(home) if from_mlflow else None
    made = parts(home)
    try:
        began = time.perf_counter()
        made.index.rebuild(home)
        seconds = time.perf_counter() - began
        data: dict[str, Any] = {
            "index": str(made.index.path) if made.index.path else None,
            "seconds": round(seconds, 3),
            "images": sum(entry.images for entry in made.index.entries()),
            "studies": [
                {"name": e.name, "kind": e.kind, "state": e.state, "images": e.images}
                | {"recipes": e.recipes, "fault": made.index.fault(e.name)}
                for e in made.index.entries()
            ],
            "brought": list(brought.studies) if brought else [],
            "faults": brought.faults if brought else {},
        }
    finally:
        made.pictures.close()
        made.index.close()
    verbs.show(data, as_json, _text(data))


def password() -> str | None:
    """The studio's password from the environment. Raises ConfigError where it cannot be read."""
    own, file = os.environ.get(PASSWORD), os.environ.get(f"{PASSWORD}_FILE")
    if own is not None and file is not None:
        raise ConfigError(f"{PASSWORD} and {PASSWORD}_FILE are both set; set one of them")
    if file is None:
        return own
    try:
        return Path(file).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{PASSWORD}_FILE={file}: cannot be read: {exc}") from exc


def root_of(path: str) -> str:
    """A sub-path as it is kept: /studio. Raises ConfigError."""
    kept = path.strip().rstrip("/")
    if kept and (not kept.startswith("/") or kept.startswith("//") or any(c in kept for c in "?#")):
        raise ConfigError(f"--root-path {path!r}: write it like /studio")
    return kept


def _text(data: dict[str, Any]) -> str:
    lines = [
        f"  {row['name']:24} {row['state']:9} {row['images']:7} images, {row['recipes']} recipes"
        + (f"  ({row['fault']})" if row["fault"] else "")
        for row in data["studies"]
    ]
    if data["brought"]:
        lines.append(f"brought from MLflow: {', '.join(data['brought'])}")
    lines += [f"not brought: {name}: {why}" for name, why in data["faults"].items()]
    place = data["index"] or "in memory only: its file cannot be used now"
    head = f"{data['images']} images of {len(data['studies'])} studies in {data['seconds']:.1f} s"
    return "\n".join([f"{head} ({place})", *lines])
