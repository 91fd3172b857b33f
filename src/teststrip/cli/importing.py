"""`teststrip image import`: folders of images made by other tools become a study."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teststrip.cli import verbs
from teststrip.cli.verbs import Json, Quiet
from teststrip.wire import settings

if TYPE_CHECKING:
    from teststrip.imports.importing import Imported


def import_images(  # noqa: PLR0917 - typer calls it by name
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of images.")],
    name: Annotated[
        str | None, typer.Option("--name", help="Of the study; else the folder's.")
    ] = None,
    score: Annotated[
        list[str] | None,
        typer.Option(
            "--score",
            metavar="NAME",
            help="technical (free, if none is named), clip, ..., or none. Repeatable.",
        ),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link", help="Hard links instead of copies, where the disk can.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Read a folder of images by their metadata into a study, to browse, filter and rate.

    Read are PNG, JPEG and WebP of A1111 and its kin, ComfyUI, InvokeAI, SwarmUI and ours, with all
    folders below; links are not followed. The same again only looks at what is new, and goes on
    where it was stopped. Pictures without settings are kept too.

    \b
    Examples:
      teststrip image import ~/stable-diffusion/outputs --name old-work
      teststrip image import ComfyUI/output --score technical --score clip --json
    """
    from teststrip.wire.importing import import_folder

    with _bar(quiet=quiet) as on_progress:
        done = import_folder(
            folder,
            settings().home,
            name=name,
            scores=tuple(score or ()),
            link=link,
            on_progress=on_progress,
        )
    verbs.show(done.as_dict(), as_json, _text(done))


def _text(done: "Imported") -> str:
    """What was read by which format, what was not, and what can be concluded."""
    lines = [f"{done.name}: {done.images} images ({done.new} new) in {done.path}"]
    who = {"none": "no settings found"}
    lines += [f"  {count:7d}  {who.get(tool, tool)}" for tool, count in done.tools.items()]
    lines.append(f"  {done.recipes} settings, {done.prompts} prompts")
    skipped = {
        "the same picture again": done.same,
        "no picture that can be read": len(done.broken),
        "links, not followed": done.skipped.links,
        "other files": done.skipped.others,
        "folders that may not be read": done.skipped.closed,
    }
    lines += [f"  passed over: {count} {what}" for what, count in skipped.items() if count]
    lines += [f"    {file}: {why}" for file, why in list(done.broken.items())[:3]]
    if done.left_out:
        lines.append(f"  settings without a column: {', '.join(done.left_out[:8])}")
    if done.unjudged and done.columns:
        lines.append(f"  {done.unjudged} images have no score")
    if done.paired:
        lines.append("  paired: every setting was shown the same prompts and seeds")
    else:
        lines.append(
            "  unpaired: settings were shown different prompts and seeds, so a difference between "
            "two may be that of their prompts"
        )
    lines.append(f"  look at it: teststrip studio serve, then /wall?study={done.name}")
    return "\n".join(lines)


@contextmanager
def _bar(*, quiet: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Files done and time left, on a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as TimeLeft

    columns = (TextColumn("files"), BarColumn(), MofNCompleteColumn(), TimeLeft())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
