"""All files of a report. The same content gives the same bytes."""

from pathlib import Path

from teststrip.files import storage_error, write_atomic
from teststrip.project.report import drawn, note, page
from teststrip.project.report.content import Content
from teststrip.project.report.note import CURVES, PAGE, SHEET

NOTE = "report.md"
NAMES = (PAGE, NOTE, SHEET, CURVES)


def files(content: Content) -> dict[str, bytes]:
    """Name -> bytes: page and note always, pictures where there are any."""
    out = {PAGE: page.render(content).encode(), NOTE: note.render(content).encode()}
    if content.pictures.png is not None:
        out[SHEET] = content.pictures.png
    if content.panels:
        out[CURVES] = drawn.draw(content.panels)
    return out


def write(content: Content, folder: Path) -> tuple[str, ...]:
    """Write them into `folder`, in place of an earlier report; foreign files there are let be.

    Returns their names. Raises StorageError.
    """
    made = files(content)
    for name, data in made.items():
        write_atomic(folder / name, data)
    for name in NAMES:
        if name not in made:
            _remove(folder / name)
    return tuple(made)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise storage_error(path, exc) from exc
