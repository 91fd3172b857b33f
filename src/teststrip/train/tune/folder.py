"""A search's folder: where everything of it lies, and who may write to it.

tune.json        the resolved config and how it stands
optuna.journal   Optuna's own record of the search (opens in optuna-dashboard)
trials/<name>.json   how a trial ended, written once, by the process that ran it
trials/<name>.prune  is there when a trial is to give up
report.json, report.md   what came out; best.yaml the training of the best trial
stop, lock       as in a study's folder
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from teststrip.errors import ConfigError, StorageError, StudyError
from teststrip.files import write_atomic
from teststrip.lock import FolderLock
from teststrip.study.folder import differences
from teststrip.train.tune.job import Outcome

if TYPE_CHECKING:
    from teststrip.train.tune.report import TuneReport

# What may differ when a search goes on: where it runs, and what follows the search.
_FREE = ("backend", "ray", "repeat")
_GROWING = ("sobol", "random", "tpe", "gp")  # more trials begin with those there are


class TuneFolder:
    """Paths and state of one search, in `<home>/tunes/<name>/`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.journal = path / "optuna.journal"
        self.report = path / "report.json"
        self.page = path / "report.md"
        self.best = path / "best.yaml"
        self.ray = path / "ray"
        self._trials = path / "trials"
        self._json = path / "tune.json"
        lock = FolderLock(path, f"search {self.name!r}")
        self.stop, self.locked = lock.stop, lock.held

    def read(self) -> dict[str, Any]:
        """The content of tune.json; empty where nothing was started. Raises StudyError."""
        try:
            data = json.loads(self._json.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as exc:
            raise StudyError(f"{self._json}: cannot be read: {exc}") from exc
        if not isinstance(data, dict):
            raise StudyError(f"{self._json}: is not the record of a search")
        return data

    def begin(self, config: dict[str, Any]) -> None:
        """Start, or go on. Raises ConfigError where another search has this name."""
        was = self.read().get("config")
        if was and (lines := differences(_bound(was), _bound(config))):
            raise ConfigError(
                f"a search {self.name!r} with other settings is in {self.path}; choose another "
                "name, or remove that folder",
                lines,
            )
        self.write(format=1, config=config, state="running")

    def write(self, **changes: Any) -> None:
        """Merge `changes` into tune.json."""
        text = json.dumps(self.read() | changes, indent=1, ensure_ascii=False)
        write_atomic(self._json, text.encode())

    def outcome(self, name: str) -> Outcome | None:
        """How a trial ended; None where it has not. Raises StudyError for a damaged file."""
        path = self._trials / f"{name}.json"
        try:
            return Outcome.of(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise StudyError(f"{path}: cannot be read ({exc}); remove it to run it again") from exc

    def keep(self, outcome: Outcome) -> None:
        """Write down how a trial ended."""
        text = json.dumps(outcome.as_dict(), ensure_ascii=False, allow_nan=False)
        write_atomic(self._trials / f"{outcome.name}.json", text.encode())

    def note_fault(self, name: str, text: str) -> None:
        """Say to the driver, which may be on another machine, what ended a trial's process."""
        with suppress(StorageError):  # it is the disk, then, and the driver will see that
            write_atomic(self._trials / f"{name}.fault", text.encode())

    def fault(self, name: str) -> str:
        """What was said so, once; empty where nothing was."""
        path = self._trials / f"{name}.fault"
        try:
            text = path.read_text(encoding="utf-8")
            path.unlink()
        except OSError:
            return ""
        return text

    def finish(
        self, report: "TuneReport", state: str, best: Mapping[str, Any] | None = None
    ) -> None:
        """Write down what came out, how the search stands, and the training of the `best`."""
        import yaml

        if best is not None:
            text = yaml.safe_dump(dict(best), sort_keys=False, allow_unicode=True)
            write_atomic(self.best, text.encode())
        data = json.dumps(report.as_dict(), indent=1, ensure_ascii=False)
        write_atomic(self.report, data.encode())
        write_atomic(self.page, report.markdown().encode())
        self.write(state=state, best=report.best.name if report.best else None)

    def outcomes(self) -> list[Outcome]:
        """All that ended, by name."""
        names = sorted(path.stem for path in self._trials.glob("[!.]*.json"))
        return [found for name in names if (found := self.outcome(name)) is not None]

    def prune(self, name: str, why: str) -> None:
        """Ask a trial, in whatever process it runs, to give up."""
        write_atomic(self._trials / f"{name}.prune", why.encode())

    def is_pruned(self, name: str) -> bool:
        """Was it asked to?"""
        return (self._trials / f"{name}.prune").exists()


def _bound(config: dict[str, Any]) -> dict[str, Any]:
    free = (*_FREE, "trials") if config.get("design") in _GROWING else _FREE
    return {key: value for key, value in config.items() if key not in free}
