"""Study: a paired, raced search over recipes that survives being killed."""

import logging
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from teststrip.errors import PluginError, StudyError, TeststripError
from teststrip.files import write_atomic
from teststrip.plugins import GENERATORS, SCORERS, load
from teststrip.protocols import Generator, Scorer, Tracker
from teststrip.recipe import Recipe
from teststrip.settings import Settings
from teststrip.study.cells import Stopped
from teststrip.study.config import Named, StudyConfig, check
from teststrip.study.folder import StudyFolder, differences
from teststrip.study.interrupt import stop_switch
from teststrip.study.ledger import Ledger
from teststrip.study.load import read_study
from teststrip.study.plan import Plan, make_plan
from teststrip.study.result import Ending, StudyResult
from teststrip.study.runner import OnEvent, Runner
from teststrip.study.tracking import finish, log_recipe

log = logging.getLogger(__name__)
PACKAGES = ("teststrip", "optuna", "numpy", "scipy", "torch", "diffusers", "transformers")


class Study:
    """A search over recipes.

        study = Study.from_yaml("study.yaml")
        print(study.plan())
        result = study.run()

    `config` is a StudyConfig or its dict. A generator and scorers may be given as objects (their
    owner closes them); otherwise those that the config names are loaded. `home` is the folder
    with `studies/` in it (TESTSTRIP_HOME by default). One process runs a study at a time.
    """

    def __init__(
        self,
        config: StudyConfig | Mapping[str, Any],
        generator: Generator | None = None,
        scorers: Sequence[Scorer] | None = None,
        home: Path | str | None = None,
        *,
        tracker: Tracker | None = None,
        source: Path | None = None,
    ) -> None:
        self.config = config if isinstance(config, StudyConfig) else check(config, "study")
        self.folder = StudyFolder(_studies(home) / self.config.name)
        self._generator = generator
        self._scorers = scorers
        self._tracker = tracker
        self._source = source

    @classmethod
    def from_yaml(
        cls,
        path: Path | str,
        set: Sequence[str] = (),
        **others: Any,
    ) -> "Study":
        """Read a study file; `set` holds changes such as `budget.images=400`.

        Raises ConfigError with every fault of the file.
        """
        path = Path(path)
        return cls(read_study(path, set), source=path.resolve(), **others)

    @classmethod
    def open(
        cls,
        name: str,
        home: Path | str | None = None,
        set: Sequence[str] = (),
        **others: Any,
    ) -> "Study":
        """A study that was started before. Raises StudyError if there is none."""
        from teststrip.config import with_changes

        folder = StudyFolder(_studies(home) / _safe(name))
        record = folder.read()
        config = check(with_changes(record["config"], set), f"study {name}")
        if record.get("parts") == "python" and others.get("generator") is None:
            raise StudyError(
                f"study {name!r} was started from Python with its own generator or scorers; "
                "resume it there: Study.open(name, generator=..., scorers=...).run()"
            )
        source = Path(record["source"]) if record.get("source") else None
        return cls(config, home=home, source=source, **others)

    @staticmethod
    def list(home: Path | str | None = None) -> "list[dict[str, Any]]":
        """Every study under `home`: name, state, created, images, best."""
        found = []
        for path in sorted(_studies(home).glob("*/study.json")):
            record = StudyFolder(path.parent).read()
            result = record.get("result") or {}
            found.append(
                {
                    "name": path.parent.name,
                    "state": record.get("state", "unknown"),
                    "created": record.get("created"),
                    "design": record["config"]["design"]["kind"],
                    "images": result.get("images"),
                    "best_id": result.get("best_id"),
                    "best_value": result.get("best_value"),
                }
            )
        return found

    @property
    def state(self) -> str:
        """`new`, `running` (or killed while it was), `stopped`, `budget` or `finished`."""
        return str(self.folder.read().get("state")) if self.folder.exists() else "new"

    @property
    def result(self) -> StudyResult | None:
        """The result of a study that came to an end; None before."""
        stored = self.folder.read().get("result") if self.folder.exists() else None
        return StudyResult.from_dict(stored, self.folder.path) if stored else None

    def plan(self, seconds_per_image: float | None = None) -> Plan:
        """What the study will cost; needs neither models nor disk."""
        return make_plan(self.config, seconds_per_image)

    def run(self, on_event: OnEvent | None = None) -> StudyResult:
        """Run to the end; goes on where an earlier run of the same study stopped.

        A finished study is left as it is. Raises ConfigError (budget too small), StudyError
        (changed config, another process, Ctrl-C, nothing works), StorageError (disk).
        """
        self.plan()
        with self.folder.locked():
            if self._is_over():
                return StudyResult.from_dict(self.folder.read()["result"], self.folder.path)
            return self._run(on_event)

    def resume(self, on_event: OnEvent | None = None) -> StudyResult:
        """Go on with a study that was started. Raises StudyError if it was not."""
        self.folder.read()
        return self.run(on_event)

    def _is_over(self) -> bool:
        if not self.folder.exists():
            return False
        record = self.folder.read()
        faults = differences(record["config"], self.config.resolved())
        if faults:
            raise StudyError(
                f"study {self.config.name!r} was started with another config; go on with the old "
                "one (`teststrip study resume NAME`) or give the new one a name of its own:\n"
                + "\n".join(f"  - {fault}" for fault in faults)
            )
        same_budget = record["config"]["budget"] == self.config.resolved()["budget"]
        return record.get("state") == "finished" or (
            record.get("state") == "budget" and same_budget
        )

    def _run(self, on_event: OnEvent | None) -> StudyResult:
        own = self._generator is not None or self._scorers is not None
        started = {} if self.folder.exists() else {"created": datetime.now(UTC).isoformat()}
        self.folder.write(
            **started,
            config=self.config.resolved(),
            state="running",
            why="",
            parts="python" if own else "named",
            source=str(self._source) if self._source else None,
            versions=_versions(),
        )
        if self._source is not None and self._source.is_file() and not self.folder.yaml.exists():
            write_atomic(self.folder.yaml, self._source.read_bytes())
        generator = self._generator or self._load(self.config.generator, GENERATORS, "generator")
        scorers: Sequence[Scorer] = (
            self._scorers
            if self._scorers is not None
            else [self._load(s, SCORERS, "scorer") for s in self.config.scorers]
        )
        ledger = Ledger(self.folder)
        try:
            return self._run_with(generator, scorers, ledger, on_event)
        finally:
            ledger.close()
            if self._generator is None:
                generator.close()

    def _run_with(
        self,
        generator: Generator,
        scorers: Sequence[Scorer],
        ledger: Ledger,
        on_event: OnEvent | None,
    ) -> StudyResult:
        def record(runner: Runner, recipe: Recipe, status: str) -> None:
            if self._tracker is not None:
                log_recipe(self._tracker, runner, recipe, status)

        with stop_switch() as switch:
            runner = Runner(
                self.config,
                folder=self.folder,
                ledger=ledger,
                generator=generator,
                scorers=scorers,
                record=record,
                on_event=on_event,
                should_stop=switch,
            )
            if self._tracker is not None:
                self._tracker.start_study(self.config.name, self.config.resolved())
            wait = True
            try:
                ending = runner.run()
            except Stopped:
                runner.write_table()
                self.folder.write(state="stopped", why=switch.asked)
                raise StudyError(
                    f"stopped by {switch.asked}: {runner.cells.done} images are kept; go on with: "
                    f"teststrip study resume {self.config.name}"
                ) from None
            except KeyboardInterrupt:
                wait = False  # the second Ctrl-C means now; the ledger loses nothing by it
                raise
            except TeststripError as exc:
                with suppress(TeststripError):  # a full disk, say, is the reason itself
                    self.folder.write(state="stopped", why=str(exc))
                raise
            finally:
                runner.cells.close(wait=wait)
        return self._finish(runner, ending)

    def _finish(self, runner: Runner, ending: Ending) -> StudyResult:
        result = _summary(runner, ending)
        if self._tracker is not None:
            files = {"images.parquet": self.folder.table.read_bytes()}
            if self.folder.yaml.exists():
                files["study.yaml"] = self.folder.yaml.read_bytes()
            finish(self._tracker, result, files)
        self.folder.write(state=ending, result=result.as_dict())
        runner.say_end()
        return result

    def _load(self, named: Named, known: Mapping[str, tuple[str, str]], kind: str) -> Any:
        """A generator or scorer by name; a user's module may lie beside the study file."""
        with _importable(self._source.parent if self._source else None):
            make = load(named.name, known, kind)
        try:
            return make(**named.options)
        except TypeError as exc:
            raise PluginError(f"{kind} {named.name!r} with {named.options}: {exc}") from exc


def _summary(runner: Runner, ending: Ending) -> StudyResult:
    best = runner.recipes[runner.leader()]
    cells = list(runner.cells.registered.values())
    made = [c for c in cells if runner.ledger.is_made(c.key)]
    seconds = [(runner.ledger.entry(c.key).made or {}).get("seconds") for c in made]
    return StudyResult(
        name=runner.config.name,
        folder=runner.folder.path,
        table=runner.folder.table,
        ending=ending,
        objective=runner.primary.column,
        higher_is_better=runner.primary.highest_is_best,
        best=best,
        best_value=runner.value(best.recipe_id),
        baseline=runner.baseline,
        baseline_value=runner.value(runner.baseline.recipe_id),
        recipes=len(runner.recipes),
        images=len(made),
        images_now=runner.cells.made_now,
        images_failed=runner.cells.done - len(made),
        images_full_grid=len(runner.recipes) * runner.config.top,
        seconds=sum(s for s in seconds if s is not None),
        peak_rss_mb=_peak_rss_mb(),
    )


def _peak_rss_mb() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _studies(home: Path | str | None) -> Path:
    return (Settings() if home is None else Settings(home=Path(home))).studies


def record_of(name: str, home: Path | str | None = None) -> dict[str, Any]:
    """What `study.json` of a study holds. Raises StudyError if there is none."""
    return StudyFolder(_studies(home) / _safe(name)).read()


def _safe(name: str) -> str:
    from teststrip.study.config import is_name

    if not is_name(name):
        raise StudyError(f"{name!r} is no name of a study; see `teststrip study list`")
    return name


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    if folder is None or str(folder) in sys.path:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
