"""Studies of a project in its home: gone on with by the same code, begun anew by another.

A study goes on where it stopped, and a finished one is not run again. That is right for the same
code only: else a stage would hand out pictures and scores of an older version as its own.
"""

import shutil
from pathlib import Path

from teststrip.files import write_atomic
from teststrip.project.machine import environment, source_sha256
from teststrip.project.project import Project
from teststrip.recipe import short_hash

KEEP = 4


def forget_older(project: Project, prefix: str) -> None:
    """Delete studies named `prefix`... that other code made, and of the others all but the newest.

    Call it before the study is begun; repeating it is harmless. Raises StorageError.
    """
    mark = project.home / "code" / f"{prefix}.txt"
    now = _code(project)
    known = mark.read_text(encoding="utf-8") if mark.is_file() else ""
    found = sorted((project.home / "studies").glob(f"{prefix}*"), key=_changed)
    for folder in found if known != now else found[:-KEEP]:
        shutil.rmtree(folder, ignore_errors=True)
    write_atomic(mark, now.encode())


def _code(project: Project) -> str:
    """One hash of the package, the project's own modules, and what computes."""
    own = {file.name: file.read_text(errors="replace") for file in project.root.glob("*.py")}
    parts = {key: environment()[key] for key in ("python", "cpu", "packages")}
    return short_hash([source_sha256(), own, parts], 16)


def _changed(folder: Path) -> float:
    record = folder / "study.json"
    return record.stat().st_mtime if record.is_file() else 0.0
