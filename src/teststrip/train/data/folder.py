"""An image folder: pictures at any depth, captions in metadata.jsonl or in a .txt beside each."""

import json
import os
import stat
from functools import partial
from pathlib import Path

from teststrip.errors import ConfigError
from teststrip.train.data.found import Found, Listing

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif")
METADATA = "metadata.jsonl"
MOST_BYTES = 2**30


def list_folder(folder: Path, caption_column: str) -> Listing:
    """The pictures below `folder`, by path; names that begin with a dot are passed over.

    A line of metadata.jsonl names a file beside it (`file_name`) and goes before a .txt file.
    Raises ConfigError if the folder cannot be read.
    """
    listing = Listing([], [])
    metadata: dict[Path, str] = {}
    pictures: list[Path] = []
    for path in _files(folder):
        if path.name == METADATA:
            metadata |= _read_metadata(path, caption_column, folder, listing.faults)
        elif path.suffix.lower() in SUFFIXES:
            pictures.append(path)
    for path in pictures:
        caption = metadata.pop(path, "") or _beside(path, folder, listing.faults)
        read = partial(read_file, path)
        listing.found.append(Found(path.relative_to(folder).as_posix(), read, caption))
    listing.faults += [f"{METADATA}: {_name(path, folder)}: no such picture" for path in metadata]
    return listing


def read_file(path: Path) -> bytes:
    """The bytes of a file. Raises OSError where it is none, or too large to be a picture."""
    told = path.stat()
    if not stat.S_ISREG(told.st_mode):
        raise OSError("no ordinary file")  # reading a pipe would wait for ever
    if told.st_size > MOST_BYTES:
        raise OSError(f"more than {MOST_BYTES // 2**20} MiB")
    return path.read_bytes()


def _files(folder: Path) -> list[Path]:
    out: list[Path] = []

    def refuse(exc: OSError) -> None:
        raise ConfigError(f"data.source {exc.filename}: cannot be read: {exc.strerror}") from exc

    for at, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        out += [Path(at, name) for name in files if not name.startswith(".")]
    return sorted(out)


def _read_metadata(path: Path, column: str, folder: Path, faults: list[str]) -> dict[Path, str]:
    where = _name(path, folder)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        faults.append(f"{where}: cannot be read: {exc}")
        return {}
    out: dict[Path, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name, caption = row["file_name"], row.get(column) or ""
        except (ValueError, KeyError, TypeError, AttributeError):
            faults.append(f'{where}, line {number}: needs {{"file_name": ..., "{column}": ...}}')
            continue
        if not isinstance(name, str) or not isinstance(caption, str):
            faults.append(f"{where}, line {number}: file_name and {column} must be text")
            continue
        picture = Path(os.path.normpath(path.parent / name))
        if picture in out:
            faults.append(f"{where}, line {number}: {name} is named twice")
        out[picture] = caption.strip()
    return out


def _beside(path: Path, folder: Path, faults: list[str]) -> str:
    try:
        return path.with_suffix(".txt").read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as exc:
        faults.append(f"{_name(path.with_suffix('.txt'), folder)}: cannot be read: {exc}")
        return ""


def _name(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)
