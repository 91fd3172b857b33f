"""`teststrip study confirm`, `export`, `promote`: from the search's leader to a champion."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Name, Out, Quiet
from teststrip.errors import ConfigError
from teststrip.files import write_atomic
from teststrip.wire import Bench, settings

Track = Annotated[bool, typer.Option("--track/--no-track", help="Record it in MLflow.")]
Recipe = Annotated[
    str | None,
    typer.Option("--recipe", metavar="ID", help="Of the study; else champion or leader."),
]


class Form(StrEnum):
    """What `export` writes."""

    json = "json"
    a1111 = "a1111"
    diffusers = "diffusers"
    all = "all"


def confirm(  # noqa: PLR0917 - typer calls it by name
    name: Name,
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="How many leaders.")] = 3,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", min=1, help="For each prompt; else the study's own."),
    ] = None,
    out: Out = None,
    track: Track = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run the leaders and the baseline on held-out prompts and fresh seeds.

    The images that chose a winner flatter it; these do not. They join the study's table, and its
    report is written anew. What was confirmed before stays in: every leader that was ever
    confirmed counts in the correction for many comparisons.

    \b
    Examples:
      teststrip study confirm first
      teststrip study confirm first --top 1 --seeds 8
    """
    from teststrip.cli.progress import progress_bar
    from teststrip.wire import confirming

    bench = Bench(settings().home, track)
    with progress_bar(name, quiet=quiet) as on_event:
        found = confirming.confirm(bench, name, top, seeds, on_event, out)
    verbs.show(found.as_dict(), as_json, str(found))


def export(
    name: Name,
    recipe: Recipe = None,
    form: Annotated[
        Form, typer.Option("--format", help="recipe as JSON, A1111 text, diffusers code, or all.")
    ] = Form.json,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="PATH", help="A file, or a folder for recipe.json, .txt, .py."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Give a recipe as text: the confirmed champion, else the search's leader.

    `recipe.json` goes into a study file's `recipe:` or `baseline:`; A1111 text is read by
    `teststrip image generate --from-text`. Both make the recipe's first picture again.

    \b
    Examples:
      teststrip study export first
      teststrip study export first --format all --out best
      teststrip study export first --format diffusers --out best.py
    """
    from teststrip.wire.winner import FILES, texts, winner

    bench = Bench(settings().home, track=False)
    chosen = winner(bench, name, recipe)
    every = texts(chosen)
    wanted = every if form is Form.all else {form.value: every[form.value]}
    written = _write(out, {FILES[kind]: text for kind, text in wanted.items()}) if out else []
    print(f"recipe {chosen.recipe_id}: {chosen.standing}", file=sys.stderr)
    shown = {
        "study": name,
        "recipe_id": chosen.recipe_id,
        "standing": chosen.standing,
        "confirmed": chosen.supported,
        "formats": wanted,
        "files": [str(path) for path in written],
    }
    text = "\n".join(map(str, written)) if out else "\n\n".join(wanted.values())
    verbs.show(shown, as_json, text)


def promote(  # noqa: PLR0917 - typer calls it by name
    name: Name,
    model_name: Annotated[
        str, typer.Option("--model-name", metavar="X", help="Name in the MLflow model registry.")
    ],
    recipe: Recipe = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also without a confirmation that supports it.")
    ] = False,
    why: Annotated[
        str | None, typer.Option("--why", metavar="TEXT", help="The reason, for the record.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Register the confirmed recipe in the MLflow model registry, with alias `champion`.

    Its version holds the recipe, the evidence, the model's fingerprint and the LoRA files.
    Refused where the confirmation does not support it; the same again changes nothing.

    \b
    Examples:
      teststrip study promote first --model-name posters
      teststrip study promote first --model-name posters --force --why "needed for the fair"
    """
    from teststrip.wire.champion import promote as promoted

    bench = Bench(settings().home)
    found = promoted(bench, name, model_name, recipe, why, force=force)
    verbs.show(found.as_dict(), as_json, str(found))


def _write(out: Path, files: dict[str, str]) -> list[Path]:
    """One file to `out`; several, or one to a folder, under their own names in it."""
    is_folder = len(files) > 1 or out.is_dir() or not out.suffix
    if len(files) > 1 and out.is_file():
        raise ConfigError(f"--out {out}: is a file; --format all needs a folder")
    paths = {out / file if is_folder else out: text for file, text in files.items()}
    for path, text in paths.items():
        write_atomic(path, f"{text}\n".encode())
    return list(paths)
