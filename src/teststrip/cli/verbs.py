"""Flags and printing that several verbs share."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A study that was started.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="Folder of the report; else in the study's own."),
]


def show(data: Any, as_json: bool, text: str) -> None:
    """The result on stdout: JSON, or text for people."""
    print(json.dumps(data, ensure_ascii=False, default=str) if as_json else text)
