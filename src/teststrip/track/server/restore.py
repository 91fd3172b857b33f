"""A backup back in its place: checked whole before anything there is touched, then swapped in."""

import hashlib
import json
import shutil
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, StorageError
from teststrip.files import storage_error
from teststrip.track.server.backup import (
    ARTIFACTS,
    CHUNK,
    KIND,
    MANIFEST,
    RUNS,
    USERS,
    Saved,
    check_embedded,
)
from teststrip.track.server.places import Places, sqlite_path


def restore(places: Places, file: Path, *, replace: bool) -> tuple[Saved, list[Path]]:
    """Put it back; what it held, and where that lies now which it replaced.

    The caller makes sure that no server runs. Raises ConfigError where something is there and
    `replace` is not set, StorageError for a file that is no whole backup.
    """
    check_embedded(places)
    targets = _targets(places)
    there = [path for path in targets.values() if _holds(path)]
    if there and not replace:
        raise ConfigError(
            "there is a store already; --replace puts it aside",
            [f"{path}: is not empty" for path in there],
        )
    try:
        places.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=places.folder, prefix=".restoring-") as new:
            saved = _unpacked(file, Path(new))
            return saved, _swapped(Path(new), targets)
    except tarfile.TarError as exc:
        raise StorageError(f"{file}: is no whole backup: {exc}; nothing was changed") from exc
    except EOFError as exc:
        raise StorageError(f"{file}: ends too early; nothing was changed") from exc
    except OSError as exc:
        if isinstance(exc, StorageError):
            raise
        raise storage_error(Path(exc.filename or file), exc) from exc


def _targets(places: Places) -> dict[str, Path]:
    found = {RUNS: sqlite_path(places.backend), USERS: sqlite_path(places.login)}
    if places.artifact_folder is not None:
        found[ARTIFACTS] = places.artifact_folder
    return found


def _holds(path: Path) -> bool:
    return any(path.iterdir()) if path.is_dir() else path.exists()


def _unpacked(file: Path, new: Path) -> Saved:
    """All of it below `new`, each byte checked. Raises StorageError."""
    found: dict[str, dict[str, Any]] = {}
    about: dict[str, Any] = {}
    with tarfile.open(file) as tar:
        for member in tar:
            source = tar.extractfile(member) if member.isreg() else None
            if source is None or not _is_ours(member.name):
                raise StorageError(f"{file}: holds {member.name!r}, which no backup of ours does")
            if member.name == MANIFEST:
                about = _manifest(file, source.read())
                continue
            target = new / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            found[member.name] = _written(source, target)
    if not about:
        raise StorageError(
            f"{file}: its list of contents is missing: it was cut off or is no backup"
        )
    if found != about["files"]:
        wrong = sorted(
            name
            for name in found.keys() | about["files"].keys()
            if found.get(name) != about["files"].get(name)
        )
        raise StorageError(
            f"{file}: {len(wrong)} files are missing or damaged, first {wrong[0]}; "
            "nothing was changed"
        )
    size = sum(one["bytes"] for one in found.values())
    return Saved(file, str(about["made"]), len(found), size)


def _is_ours(name: str) -> bool:
    parts = name.split("/")
    if parts[0] == ARTIFACTS and len(parts) > 1:
        return not {"", ".", ".."} & set(parts) and "\0" not in name
    return name in (MANIFEST, RUNS, USERS)


def _manifest(file: Path, data: bytes) -> dict[str, Any]:
    try:
        about = json.loads(data)
    except ValueError:
        about = None
    if not isinstance(about, dict) or about.get("kind") != KIND or "files" not in about:
        raise StorageError(f"{file}: is no backup of a tracking server; nothing was changed")
    return about


def _written(source: Any, target: Path) -> dict[str, Any]:
    size, digest = 0, hashlib.sha256()
    with target.open("wb") as out:
        while data := source.read(CHUNK):
            digest.update(data)
            size += out.write(data)
    return {"bytes": size, "sha256": digest.hexdigest()}


def _swapped(new: Path, targets: Mapping[str, Path]) -> list[Path]:
    """What was there goes aside, what is in `new` takes its place; all back where one fails."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    undo: list[tuple[Path, Path]] = []
    aside: list[Path] = []
    try:
        for name, target in targets.items():
            if target.exists():
                old = target.with_name(f"{target.name}.before-{stamp}")
                target.rename(old)
                undo.append((old, target))
                aside.append(old)
            if (new / name).exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(new / name, target)  # another disk may hold the artifacts
                undo.append((target, new / name))
    except OSError:
        for now, before in reversed(undo):
            shutil.move(now, before)
        raise
    return aside
