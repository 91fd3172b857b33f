"""The entry point: nouns, --version, and one table from error to exit code."""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from teststrip import __version__, logs
from teststrip.cli import (
    doctor,
    findings,
    image,
    importing,
    people,
    project,
    service,
    studio,
    study,
    track,
    train,
    winner,
)
from teststrip.errors import ConfigError, TeststripError

DONE, FAILED, WRONG_USE = 0, 1, 2
INTERRUPTED = 130  # what typer returns for Ctrl-C

app = typer.Typer(
    name="teststrip",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
image.app.command("import")(importing.import_images)
app.add_typer(image.app, name="image")
for verb in (
    findings.analyze,
    findings.compare,
    findings.report,
    people.votes,
    winner.confirm,
    winner.export,
    winner.promote,
):
    study.app.command()(verb)
app.add_typer(study.app, name="study")
app.add_typer(train.app, name="train")
app.add_typer(studio.app, name="studio")
app.add_typer(service.app, name="service")
app.add_typer(track.app, name="track")
app.add_typer(project.app, name="project")
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"teststrip {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Find the settings at which an image-generation model is consistently good.

    \b
    Example:
      teststrip image generate "a red apple on a table" --n 4
      teststrip study run study.yaml

    \b
    Every verb has --json. Exit: 0 done, 1 failed, 2 wrong use.
    Environment: TESTSTRIP_HOME, TESTSTRIP_LOG=INFO, TESTSTRIP_DEBUG=1 (tracebacks).
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code.

    Errors go to stderr as one clear message; with --json stdout holds `{"error": ...}` besides,
    so that it is JSON whatever happens.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    try:
        logs.configure()
        code = app(args, prog_name="teststrip", standalone_mode=False)
    except (Exception, KeyboardInterrupt) as exc:
        if os.environ.get("TESTSTRIP_DEBUG") == "1":
            traceback.print_exc()
        return _report(exc, as_json="--json" in args)
    if code == INTERRUPTED:
        return _report(KeyboardInterrupt(), as_json="--json" in args)
    return code if isinstance(code, int) else DONE


def _report(exc: BaseException, *, as_json: bool) -> int:
    code, message = _explain(exc)
    print(message, file=sys.stderr)
    if as_json:
        error: dict[str, Any] = {"type": type(exc).__name__, "message": message}
        if isinstance(exc, ConfigError):
            error["faults"] = list(exc.faults)
        print(json.dumps({"error": error}, ensure_ascii=False))
    return code


def _explain(exc: BaseException) -> tuple[int, str]:
    """Exit code and message: the only place that decides them."""
    match exc:
        case TeststripError():
            return exc.exit_code, str(exc)
        case typer.TyperException():
            context = getattr(exc, "ctx", None)
            command = context.command_path if context else "teststrip"
            hint = "" if "Usage:" in exc.message else f"\nTry: {command} --help"
            return exc.exit_code, f"{exc.format_message()}{hint}"
        case KeyboardInterrupt() | typer.Abort():
            return FAILED, "stopped; what was finished is kept"
        case _:
            what = f"{type(exc).__name__}: {exc}"
            return FAILED, f"unexpected error: {what}\nTESTSTRIP_DEBUG=1 shows where it came from"
