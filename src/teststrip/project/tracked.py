"""A folder under DVC without DVC: its .dvc file and its files in the cache, byte for byte.

So a new project's pictures are on the remote after the first `dvc push`, whether DVC was installed
when it was made or not. The format is DVC 3's: files by the MD5 of their content, the folder as a
JSON list of them; `dvc add` writes the same (tests compare).
"""

import hashlib
import json
from pathlib import Path


def add_folder(root: Path, name: str) -> Path:
    """Track folder `name` (relative to the project's `root`); returns the .dvc file.

    Raises OSError.
    """
    folder, cache = root / name, root / ".dvc/cache/files/md5"
    rows, size = [], 0
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = file.read_bytes()
        size += len(content)
        rows.append({"md5": _keep(cache, content), "relpath": file.relative_to(folder).as_posix()})
    rows.sort(key=lambda row: tuple(row["relpath"].split("/")))
    listing = json.dumps(rows, sort_keys=True).encode()
    digest = _keep(cache, listing, ".dir")
    note = root / f"{name}.dvc"
    note.write_text(
        f"outs:\n- md5: {digest}\n  size: {size}\n  nfiles: {len(rows)}\n  hash: md5\n"
        f"  path: {folder.name}\n",
        encoding="utf-8",
    )
    return note


def _keep(cache: Path, content: bytes, suffix: str = "") -> str:
    """Lay `content` in the cache; its MD5, which is DVC's name for it and guards nothing."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest() + suffix
    place = cache / digest[:2] / digest[2:]
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o444)  # DVC takes what may be written to for damaged
    return digest
