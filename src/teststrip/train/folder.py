"""A run's folder: where everything of it lies, who may write to it, and how it stands.

run.json        what is trained, how, and how it stands; see docs/runs-format.md
train.yaml      the file as it was given
metrics.jsonl   a line for each step that is logged
held_out.jsonl  a line for each held-out picture and measuring
manifest.json   every picture that it is trained on, by content
progress.json   how far it is, while it runs
checkpoints/    one folder per checkpoint; see checkpoints.py
samples/        the validation images
stop            is there while somebody asks the process that runs it to stop
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from teststrip.errors import StudyError
from teststrip.files import write_atomic
from teststrip.lock import FolderLock

FORMAT = 1


class RunFolder:
    """Paths and state of one training run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.json = path / "run.json"
        self.yaml = path / "train.yaml"
        self.metrics = path / "metrics.jsonl"
        self.held_out = path / "held_out.jsonl"
        self.manifest = path / "manifest.json"
        self.progress = path / "progress.json"
        self.checkpoints = path / "checkpoints"
        self.samples = path / "samples"
        lock = FolderLock(path, f"training run {self.name!r}")
        self.stop = lock.stop
        self.holder, self.ask_to_stop, self.locked = lock.holder, lock.ask_to_stop, lock.held

    @classmethod
    def of(cls, home: Path, name: str) -> "RunFolder":
        """The folder of run `name` under TESTSTRIP_HOME `home`."""
        return cls(home / "runs" / name)

    def exists(self) -> bool:
        """Was a run started here?"""
        return self.json.exists()

    def read(self) -> dict[str, Any]:
        """The content of run.json. Raises StudyError if there is none or it is damaged."""
        try:
            data = json.loads(self.json.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise StudyError(
                f"no training run {self.name!r} in {self.path.parent}; "
                "start one with `teststrip train run FILE`"
            ) from None
        except (OSError, ValueError) as exc:
            raise StudyError(f"{self.json}: cannot be read: {exc}") from exc
        if not isinstance(data, dict) or "state" not in data:
            raise StudyError(f"{self.json}: is not the record of a training run")
        return data

    def write(self, **changes: Any) -> None:
        """Merge `changes` into run.json; None takes a key out. Raises StorageError."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        old: Mapping[str, Any] = self.read() if self.exists() else {"created": now}
        merged = {"format": FORMAT, **old, **changes, "changed": now}
        data = {key: value for key, value in merged.items() if value is not None}
        write_atomic(self.json, json.dumps(data, indent=1, ensure_ascii=False).encode())
