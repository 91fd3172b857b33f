"""Lock records: what a stage read, with which parameters, code and machine, and what it made.

locks/<stage>.json, kept by git. DVC's dvc.lock says that files belong together; a record says also
where they come from, and it can be read without DVC.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field

from teststrip.config import parse
from teststrip.errors import ConfigError, StorageError
from teststrip.files import write_atomic
from teststrip.project import machine
from teststrip.project.layout import Stage
from teststrip.project.params import Params
from teststrip.project.project import Project
from teststrip.recipe import Frozen

FORMAT: Final = 1
# What file managers and DVC leave in any folder.
_FOREIGN = frozenset({".DS_Store", "Thumbs.db", "desktop.ini", ".gitignore", ".gitkeep"})

Hashes = dict[str, str]
"""Path in the project, with `/` -> SHA-256 in hex."""


class Record(Frozen):
    """What one run of a stage read, used and made.

    `params`: its sections of params.yaml with the defaults filled in, `auto` as it was given;
    `resolved`: what was used instead. `timed`: outputs that hold times, so that making them again
    gives other bytes. `made`: when it ended, ISO 8601 in UTC; `seconds` it took.
    """

    format: Literal[1] = FORMAT
    stage: str
    command: str
    inputs: Hashes
    params: dict[str, Any]
    resolved: dict[str, Any] = Field(default_factory=dict)
    outputs: Hashes
    timed: Hashes = Field(default_factory=dict)
    code: dict[str, Any]
    environment: dict[str, Any]
    device: dict[str, Any] = Field(default_factory=dict)
    model: dict[str, Any] = Field(default_factory=dict)
    made: str
    seconds: float = Field(ge=0)

    @classmethod
    def of(cls, project: Project, stage: Stage, inputs: Hashes, **facts: Any) -> Self:
        """The record of what `stage` just made of `inputs`: hashes its outputs, asks the machine.

        `facts`: resolved, model, device (as the stage said it) and seconds. Raises StorageError.
        """
        written = hash_files(project.root, stage.written)
        timed = set(_names(project.root, stage.timed))
        return cls(
            stage=stage.name,
            command=command(stage.name),
            inputs=inputs,
            params=params_of(project.params, stage),
            resolved=_plain(facts["resolved"]),
            outputs={name: found for name, found in written.items() if name not in timed},
            timed={name: found for name, found in written.items() if name in timed},
            code=machine.code_of(project.root),
            environment=machine.environment(),
            device=machine.device_of(facts["device"]),
            model=_plain(facts["model"]),
            made=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(facts["seconds"], 1),
        )

    @classmethod
    def parse(cls, text: str | bytes, what: str) -> Self:
        """From the content of a lock file; `what` names it. Raises ConfigError if it is damaged."""
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ConfigError(f"{what}: no lock record: not valid JSON ({exc})") from exc
        if isinstance(data, dict) and data.get("format") != FORMAT:
            raise ConfigError(
                f"{what}: lock record of format {data.get('format')!r}; this version of teststrip "
                f"reads {FORMAT}: use the version that wrote it, or run the stage again"
            )
        return parse(cls, data, what)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ConfigError where it is not there or damaged."""
        try:
            text = path.read_bytes()
        except FileNotFoundError as exc:
            raise ConfigError(f"{path}: no such lock record; run the stage first") from exc
        except OSError as exc:
            raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
        return cls.parse(text, str(path))

    @classmethod
    def find(cls, project: Project, stage: Stage) -> Self | None:
        """The record of a stage, None where it has none. Raises ConfigError if it is damaged."""
        path = project.path(stage.lock)
        return cls.read(path) if path.is_file() else None

    def write(self, path: Path) -> None:
        """Whole or not at all. Raises StorageError."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True)
        write_atomic(path, f"{text}\n".encode())


def command(stage: str) -> str:
    """How a stage is run, here and in dvc.yaml."""
    return f"teststrip project run {stage}"


def params_of(params: Params, stage: Stage) -> dict[str, Any]:
    """The sections (or single keys, such as `train.model_name`) that a stage reads."""
    whole = params.model_dump(mode="json")
    found = {}
    for section in stage.sections:
        first, _, key = section.partition(".")
        found[section] = whole[first][key] if key else whole[first]
    return found


def missing(root: Path, names: Iterable[str]) -> list[str]:
    """Those of files and folders that are not there; a folder without a file counts as missing."""
    return [name for name in names if next(_files(root, name), None) is None]


def hash_files(root: Path, names: Iterable[str]) -> Hashes:
    """SHA-256 of each file, and of every file below each folder, of `names`; sorted by path.

    What is not there is left out. Raises StorageError for a file that cannot be read.
    """
    found = sorted({path for name in names for path in _files(root, name)})
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="hash") as threads:
        hashes = threads.map(lambda name: file_sha256(root / name), found)
        return dict(zip(found, hashes, strict=True))


def file_sha256(path: Path) -> str:
    """Raises StorageError for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise StorageError(f"{path}: cannot be read: {exc.strerror or exc}") from exc


def stamps(root: Path, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Size in bytes and time of change in ns of each file: what tells that one was changed."""
    found = {}
    for name in _names(root, names):
        facts = (root / name).stat()
        found[name] = (facts.st_size, facts.st_mtime_ns)
    return found


def _names(root: Path, names: Iterable[str]) -> list[str]:
    return sorted({path for name in names for path in _files(root, name)})


def _files(root: Path, name: str) -> Iterator[str]:
    """A file, or all below a folder; DVC may have made them links to its cache."""
    path = root / name
    if path.is_file():
        yield name
        return
    for folder, below, files in os.walk(path):
        below.sort()
        for file in sorted(files):
            here = Path(folder, file)
            if file not in _FOREIGN and here.is_file():
                yield here.relative_to(root).as_posix()


def _plain(facts: Mapping[str, Any]) -> dict[str, Any]:
    """As it will be read again: tuples are lists, paths are text."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(facts), default=str, allow_nan=False))
    return plain
