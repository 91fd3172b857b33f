"""A study's folder: where everything of it lies, who may write to it, and what it was started as.

study.yaml      the file as it was given
study.json      the resolved config, versions and state
optuna.journal  Optuna's own record of the trials (opens in optuna-dashboard)
rows.jsonl      what happened to each image, line by line
progress.json   how far it is, while it runs; see progress.py
stop            is there while somebody asks the process that runs it to stop
images/         the pictures, by image key
images.parquet  the table, one row per image
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from teststrip.errors import StudyError
from teststrip.files import write_atomic
from teststrip.lock import FolderLock


class StudyFolder:
    """Paths and state of one study."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.journal = path / "optuna.journal"
        self.rows = path / "rows.jsonl"
        self.images = path / "images"
        self.table = path / "images.parquet"
        self.yaml = path / "study.yaml"
        self.progress = path / "progress.json"
        lock = FolderLock(path, f"study {self.name!r}")
        self.stop = lock.stop
        self.holder, self.ask_to_stop, self.locked = lock.holder, lock.ask_to_stop, lock.held
        self._json = path / "study.json"

    def exists(self) -> bool:
        """Was a study started here?"""
        return self._json.exists()

    def read(self) -> dict[str, Any]:
        """The content of study.json. Raises StudyError if there is none or it is damaged."""
        try:
            data = json.loads(self._json.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StudyError(
                f"no study {self.name!r} in {self.path.parent}; "
                "see `teststrip study list`, start one with `teststrip study run FILE`"
            ) from None
        except (OSError, ValueError) as exc:
            raise StudyError(f"{self._json}: cannot be read: {exc}") from exc
        if not isinstance(data, dict) or "config" not in data:
            raise StudyError(f"{self._json}: is not the record of a study")
        return data

    def write(self, **changes: Any) -> None:
        """Merge `changes` into study.json."""
        data = (self.read() if self.exists() else {}) | changes
        data["changed"] = datetime.now(UTC).isoformat(timespec="seconds")
        text = json.dumps(data, indent=1, ensure_ascii=False)
        write_atomic(self._json, text.encode())

    def is_empty(self) -> bool:
        """Was no picture made yet? Then nothing is lost by starting over."""
        return next(self.images.glob("*/*.png"), None) is None

    def start_over(self) -> None:
        """Forget a study that made nothing, so that a mended config may take its name."""
        for path in (self._json, self.journal, self.rows, self.table, self.yaml, self.progress):
            path.unlink(missing_ok=True)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two resolved configs, one line each.

    A budget may grow, and a service may move: whether it has the same model is told by fingerprint.
    """
    lines = []
    for key, was, now in _leaves("", old, new):
        if was == now or (key.startswith("budget.") and _grew(was, now)):
            continue
        if key == "generator.options.url" and was and now:
            continue
        lines.append(f"{key}: was {_short(was)}, now {_short(now)}")
    return lines


def _leaves(at: str, old: Any, new: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted({*old, *new}):
            yield from _leaves(f"{at}.{key}" if at else key, old.get(key), new.get(key))
    else:
        yield at, old, new


def _grew(was: Any, now: Any) -> bool:
    return now is None or (was is not None and now >= was)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
