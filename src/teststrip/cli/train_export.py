"""`teststrip train export`: a checkpoint as the file that another program reads."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json


class Format(StrEnum):
    """What can be written."""

    diffusers = "diffusers"
    kohya = "kohya"
    comfyui = "comfyui"
    merged = "merged"
    onnx = "onnx"


def export(  # noqa: PLR0917 - typer calls it by name
    run: Annotated[str, typer.Argument(metavar="RUN", help="A training run.")],
    formats: Annotated[
        list[Format] | None,
        typer.Option("--format", help="Repeatable; else diffusers and kohya.", show_default=False),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option("--step", metavar="N", help="Checkpoint; else the selected, else newest."),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", metavar="S", help="Put into the file; else the selected one, 1."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Else exports/ in the run.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a checkpoint: LoRA files for other programs, a merged model, an ONNX UNet.

    Every file is read back before it gets its name: by diffusers' own loader or onnxruntime, whose
    numbers must be the checkpoint's. kohya is for A1111 and its kin, comfyui for ComfyUI.

    \b
    Examples:
      teststrip train export ink
      teststrip train export ink --step 400 --format comfyui --out ~/ComfyUI/models/loras
      teststrip train export ink --format merged --format onnx --scale 0.8
    """
    from teststrip.wire import settings
    from teststrip.wire.exporting import export_run

    wanted = [form.value for form in formats or (Format.diffusers, Format.kohya)]
    found = export_run(settings().home, run, wanted, step, scale, out)
    verbs.show(found.as_dict(), as_json, str(found))
