"""Import: a folder of images made elsewhere as a study, and what its evidence is worked out of."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StorageError, StudyError

if TYPE_CHECKING:
    from teststrip.imports.importing import Imported
    from teststrip.protocols import Scorer
    from teststrip.wire.tables import Recorded

KIND = "import"
LONGEST_NAME = 64


def import_folder(
    folder: Path,
    home: Path,
    *,
    name: str | None = None,
    scores: Sequence[str] = (),
    link: bool = False,
    on_progress: "Callable[[int, int], None] | None" = None,
) -> "Imported":
    """Pictures below `folder` as study `name` (else named after the folder) under `home`.

    `scores`: scorers by name (`technical` where none is named, `none` for no scores). Raises
    ConfigError for a wrong name or folder, PluginError for an unknown scorer, StudyError.
    """
    from teststrip.imports.importing import Import, run
    from teststrip.study.config import is_name

    wanted = name or name_of(folder)
    faults = [] if is_name(wanted) else [f"--name {wanted!r}: letters, digits, '.', '_' and '-'"]
    if not folder.is_dir():
        faults.append(f"DIR {folder}: is no folder")
    if faults:
        raise ConfigError("images cannot be imported", faults)
    return run(Import(folder, wanted, _scorers(scores), link), home, on_progress)


def name_of(folder: Path) -> str:
    """A study's name for a folder: its own name, less what a name may not hold."""
    own = folder.resolve().name
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in own)
    return kept.strip("._-")[:LONGEST_NAME] or "images"


def is_import(record: "dict[str, Any]") -> bool:
    """Is a study's record (study.json) that of an import?"""
    return record.get("kind") == KIND


def recorded(folder: Path, record: "dict[str, Any]") -> "Recorded":
    """What the evidence of an import is worked out of.

    Images without prompt or settings say nothing of a setting and stay out; an image without a
    seed is a block of its own. Raises StudyError where nothing is left to compare.
    """
    from teststrip.evidence import table
    from teststrip.evidence.facts import StudyFacts
    from teststrip.evidence.report import file_reader
    from teststrip.evidence.table_file import read_frame
    from teststrip.imports.comparing import comparable, varied
    from teststrip.wire.people import votes_of
    from teststrip.wire.tables import Recorded

    objective = record.get("objective")
    if not objective:
        raise StudyError(f"import {folder.name!r} has no score; import it again with --score NAME")
    better = record.get("higher_is_better", {})
    rows = comparable(read_frame(folder / "images.parquet"), folder.name)
    checked = table.checked(rows, f"table of import {folder.name}", objective)
    facts = StudyFacts(
        name=folder.name,
        objective=objective,
        higher_is_better=bool(better.get(objective, True)),
        varied=varied(checked),
        command=f"teststrip image import DIR --name {folder.name}",
        design="",
        created=str(record.get("created", ""))[:10],
        lower_is_better=tuple(c for c, up in better.items() if not up and c != objective),
    )
    read = file_reader(folder)
    return Recorded(
        table=checked,
        facts=facts,
        votes=votes_of(folder),
        read_png=lambda place: _as_png(read(place)),
        where=str(folder),
    )


def _scorers(names: Sequence[str]) -> "dict[str, Scorer]":
    from teststrip.plugins import SCORERS, load

    wanted = dict.fromkeys(names or ["technical"])
    if "none" in wanted:
        if len(wanted) > 1:
            raise ConfigError("--score none: goes alone")
        return {}
    return {name: load(name, SCORERS, "scorer")() for name in wanted}


def _as_png(data: bytes) -> bytes:
    from teststrip.imports import texts

    if data.startswith(b"\x89PNG"):
        return data
    try:
        return texts.as_png(texts.open_picture(data))
    except ConfigError as exc:
        raise StorageError(f"a picture cannot be read: {exc}") from exc
