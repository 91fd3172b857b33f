"""manifest.json: what exactly a run was trained on."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError
from teststrip.files import write_atomic
from teststrip.recipe import canonical_json
from teststrip.train.data.picture import Picture

FORMAT = 1
NAME = "manifest.json"
Splits = dict[str, Sequence[Picture]]


def dataset_hash(splits: Splits) -> str:
    """64 hex digits over contents, captions and split; names, order and place play no part."""
    rows = sorted([s, p.sha256, p.caption] for s, pictures in splits.items() for p in pictures)
    return hashlib.sha256(canonical_json(rows).encode()).hexdigest()


def write_manifest(folder: Path, source: str, splits: Splits, total: str) -> None:
    """Write `folder`/manifest.json, unless it says the same already.

    Raises ConfigError if the folder's run was begun on other pictures, StorageError.
    """
    path = folder / NAME
    kept = _read(path)
    rows: list[dict[str, Any]] = [
        {
            "name": p.name,
            "sha256": p.sha256,
            "size": [p.width, p.height],
            "caption": p.caption,
            "split": split,
        }
        for split, pictures in splits.items()
        for p in pictures
    ]
    if kept is not None and kept.get("dataset_hash") != total:
        raise ConfigError(
            f"{folder.name}: the pictures are not those that this run was begun with; "
            "restore them, or give the new run another name",
            changes(kept.get("pictures", []), rows),
        )
    if kept is None:
        whole = {"format": FORMAT, "source": source, "dataset_hash": total, "pictures": rows}
        write_atomic(path, (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode())


def changes(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[str]:
    """In words, by name: what was added, removed, or is another picture, caption or split."""
    before, after = ({str(row["name"]): row for row in rows} for rows in (old, new))
    out = [f"{name}: added" for name in after if name not in before]
    out += [f"{name}: removed" for name in before if name not in after]
    for name in before.keys() & after.keys():
        out += [
            f"{name}: another {what}"
            for key, what in (("sha256", "picture"), ("caption", "caption"), ("split", "split"))
            if before[name].get(key) != after[name].get(key)
        ]
    return sorted(out)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise ConfigError(f"{path}: cannot be read: {exc}; restore it or remove the run") from exc
    return found if isinstance(found, dict) else None
