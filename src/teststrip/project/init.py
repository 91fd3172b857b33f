"""A new project from template/: layers of files, one on the other, a few words filled in."""

import json
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

from teststrip.errors import ConfigError
from teststrip.files import storage_error
from teststrip.project.addresses import endpoint_fault, is_clear_text, remote_fault
from teststrip.project.layout import IMAGES, Kind
from teststrip.project.tracked import add_folder

CIS = ("gitlab", "github")
LAYERS = {
    "dreambooth": ("shared", "tuned", "dreambooth"),
    "lora": ("shared", "tuned", "lora"),
    "study": ("shared", "study"),
}
"""Folders of template/ that make each kind; `ci/gitlab` or `ci/github` comes last."""
DOT = "dot-"
"""In template/ `dot-gitignore` stands for `.gitignore`, which would act on the template itself."""
PLAIN = (".png", ".jpg")
"""Files that are copied as they are; in all others <NAME>, <VERSION>, ... are filled in."""


@dataclass(frozen=True)
class Made:
    """A project that was just made. `remarks`: what its maker should know; `next`: what to type."""

    root: Path
    kind: str
    ci: str
    files: tuple[str, ...]
    remarks: tuple[str, ...]
    next: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return {
            "project": str(self.root),
            "kind": self.kind,
            "ci": self.ci,
            "files": list(self.files),
            "remarks": list(self.remarks),
            "next": list(self.next),
        }

    def __str__(self) -> str:
        lines = [f"{self.root}: a project of kind {self.kind}, {len(self.files)} files."]
        lines += [f"  {remark}" for remark in self.remarks]
        lines += ["Next:", *(f"  {command}" for command in self.next)]
        return "\n".join(lines)


def init(
    folder: Path, *, kind: str, ci: str, model: str = "builtin", remote: str, endpoint: str = ""
) -> Made:
    """Make a project in `folder`: new, empty, or holding a git repository without a commit's files.

    A fault or a full disk leaves `folder` as it was. Raises ConfigError with every fault,
    StorageError.
    """
    kinds: tuple[str, ...] = get_args(Kind)
    faults = [
        *_folder_faults(folder),
        *([] if kind in kinds else [f"kind: {kind!r} is not one of {', '.join(kinds)}"]),
        *([] if ci in CIS else [f"ci: {ci!r} is not one of {', '.join(CIS)}"]),
        *_model_faults(model),
        *filter(None, (remote_fault(remote), endpoint_fault(endpoint))),
    ]
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"project init {folder}: {count}; nothing was made", faults)
    root = folder.resolve()
    words = {
        "NAME": root.name,
        "KIND": kind,
        "VERSION": version("teststrip"),
        "MODEL": yaml_word(_model_name(model)),
        "REMOTE": remote.rstrip("/"),
        "ENDPOINT": endpoint,
    }
    try:
        written = _write(root, (*LAYERS[kind], f"ci/{ci}"), words)
    except OSError as exc:
        raise storage_error(folder, exc) from exc
    return Made(root, kind, ci, tuple(written), _remarks(root, endpoint), _next(folder, root))


def _write(root: Path, layers: tuple[str, ...], words: dict[str, str]) -> list[str]:
    """Write all into a hidden folder of `root`, then lift it: a project is whole or not there."""
    new = not root.exists()
    root.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".new-", dir=root))
    done = False
    try:
        for layer in layers:
            for name, content in _layer(layer):
                place = part / name
                place.parent.mkdir(parents=True, exist_ok=True)
                plain = place.suffix in PLAIN
                place.write_bytes(content if plain else fill(content.decode(), words).encode())
        if words["ENDPOINT"]:
            with (part / ".dvc/config").open("a", encoding="utf-8") as config:
                config.write(f"    endpointurl = {words['ENDPOINT']}\n")
        written = [path for path in part.rglob("*") if path.is_file()]
        if (part / IMAGES).is_dir():
            written.append(add_folder(part, IMAGES))
        for entry in part.iterdir():
            entry.rename(root / entry.name)
        done = True
    finally:
        shutil.rmtree(root if new and not done else part, ignore_errors=True)
    return sorted(path.relative_to(part).as_posix() for path in written)


def _layer(name: str) -> Iterator[tuple[str, bytes]]:
    """Each file of a folder of template/: its place in the project, its content."""
    top = Path(str(files("teststrip.project"))) / "template" / name
    for path in sorted(top.rglob("*")):
        if path.is_file():
            parts = path.relative_to(top).parts
            yield "/".join(re.sub(f"^{DOT}", ".", part) for part in parts), path.read_bytes()


def fill(text: str, words: dict[str, str]) -> str:
    """`text` with <NAME> and so on replaced; other words between < and > stay."""
    return re.sub(r"<([A-Z]+)>", lambda found: words.get(found[1], found[0]), text)


def yaml_word(text: str) -> str:
    """`text` as a YAML value that is read as this text."""
    plain = re.fullmatch(r"[A-Za-z/][\w./-]*", text, re.ASCII)
    dull = text.lower() not in ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
    return text if plain and dull else json.dumps(text, ensure_ascii=False)


def _folder_faults(folder: Path) -> list[str]:
    try:
        return _not_empty(folder)
    except OSError as exc:
        return [f"folder: {folder} cannot be read: {exc.strerror or exc}"]


def _not_empty(folder: Path) -> list[str]:
    if not folder.exists():
        return [f"folder: {folder} is a broken link"] if folder.is_symlink() else []
    if not folder.is_dir():
        return [f"folder: {folder} is a file; name a new or an empty folder"]
    there = sorted(path.name for path in folder.iterdir() if path.name != ".git")
    if there:
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        return [
            f"folder: {folder} holds {', '.join(there[:3])}{more}; name a new or an empty folder"
        ]
    return []


def _model_faults(model: str) -> list[str]:
    if not model.strip() or len(model) > 500 or not model.isprintable():
        return [f"model: {model[:80]!r} is no name; give builtin, a folder or a hub id"]
    if model.startswith(("/", ".", "~")) and not Path(model).expanduser().is_dir():
        return [f"model: {model!r}: no such folder; give builtin, a folder or a hub id"]
    return []


def _model_name(model: str) -> str:
    """A folder by its whole path, for stages run elsewhere; any other name as it is."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() and model != "builtin" else model


def _remarks(root: Path, endpoint: str) -> tuple[str, ...]:
    said = []
    if find_spec("dvc") is None:
        said.append("DVC is not installed here: pip install -r requirements.txt brings it.")
    top = _repository(root)
    if top is not None and top != root:
        said.append(
            f"It lies inside the git repository {top}; CI reads its file at the top alone, so for "
            "CI make the project a repository of its own."
        )
    if is_clear_text(endpoint):
        said.append(f"{endpoint} is not encrypted: anybody between here and there sees pictures.")
    return tuple(said)


def _next(folder: Path, root: Path) -> tuple[str, ...]:
    start = "" if _repository(root) else "git init && "
    enter = [] if root == Path.cwd() else [f"cd {shlex.quote(os.fspath(folder))}"]
    return (
        *enter,
        f'{start}git add . && git commit -m "A new project"',
        "dvc repro",
    )


def _repository(root: Path) -> Path | None:
    """The top of the git repository that `root` lies in."""
    return next((path for path in (root, *root.parents) if (path / ".git").exists()), None)
