"""Study: a paired, raced search over recipes that survives being killed."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, StudyError, TeststripError
from teststrip.files import write_atomic
from teststrip.protocols import Generator, Scorer, Tracker
from teststrip.recipe import Recipe
from teststrip.settings import Settings
from teststrip.study.cells import Stopped
from teststrip.study.config import StudyConfig, check, is_name
from teststrip.study.folder import StudyFolder, differences
from teststrip.study.goals import find_goals
from teststrip.study.interrupt import stop_switch
from teststrip.study.ledger import Ledger
from teststrip.study.load import read_study, resolve
from teststrip.study.parts import Parts, load_generator, load_scorers, versions
from teststrip.study.plan import Plan, make_plan
from teststrip.study.result import Asked, Confirmation, Ending, StudyResult
from teststrip.study.runner import OnEvent, Runner
from teststrip.study.scoring import all_columns
from teststrip.study.summary import summarise
from teststrip.study.tracking import finish, log_recipe


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
        self.config = (
            config if isinstance(config, StudyConfig) else resolve(config, Path(), "study")
        )
        self.folder = StudyFolder(_studies(home) / self.config.name)
        self._generator = generator
        self._scorers = scorers
        self._tracker = tracker
        self._source = source
        self.retry_failed = False

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
        refuse_import(name, record)
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
        found: Any = []
        for path in sorted(_studies(home).glob("*/study.json")):
            try:
                record = StudyFolder(path.parent).read()
            except StudyError as exc:
                found.append({"name": path.parent.name, "state": "damaged", "why": str(exc)})
                continue
            result = record.get("result") or {}
            found.append(
                {
                    "name": path.parent.name,
                    "state": record.get("state", "unknown"),
                    "created": record.get("created"),
                    "design": record["config"]["design"]["kind"],
                    "images": result.get("images", (record.get("imported") or {}).get("images")),
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

        A finished study is left as it is; with `retry_failed`, its failed images and scores are
        tried again and the race is decided anew. Raises ConfigError (budget too small), StudyError
        (changed config, another process, Ctrl-C, nothing works), StorageError (disk).
        """
        self.plan()
        with self.folder.locked():
            if self._is_over():
                result = StudyResult.from_dict(self.folder.read()["result"], self.folder.path)
                if not (self.retry_failed and result.rows_failed):
                    return result
            return self._run(on_event)

    def resume(self, on_event: OnEvent | None = None) -> StudyResult:
        """Go on with a study that was started. Raises StudyError if it was not."""
        self.folder.read()
        return self.run(on_event)

    def confirm(
        self,
        top: int = 3,
        seeds: int | None = None,
        on_event: OnEvent | None = None,
    ) -> Confirmation:
        """Run the best `top` recipes and the baseline on held-out prompts and fresh seeds.

        The images that chose a winner flatter it; these do not. They are rows of the same table,
        with `split` held_out. `seeds` for each prompt (the study's own number by default). May be
        repeated: what is made is not made again, and what was confirmed before stays in. Raises
        StudyError if the study has not come to an end or only its baseline has, ConfigError if it
        holds no prompts out.
        """
        name = self.config.name
        if not self.config.prompts.held_out:
            raise ConfigError(
                f"study {name}: no prompts are held out, and the search has seen them all; set "
                "prompts.held_out to .25 in its file and run it under another name"
            )
        with self.folder.locked():
            if not self._is_over():
                raise StudyError(f"study {name!r} has not ended: teststrip study resume {name}")
            with (
                self._parts() as parts,
                self._runner(parts, on_event, again=f"confirm {name}", replay=True) as runner,
            ):
                runner.run()
                asked = Asked.of(self.folder.read())
                confirmation = runner.confirm(top, seeds or self.config.seeds.per_prompt, asked)
            self.folder.write(confirmed=confirmation.as_dict())
            return confirmation

    def _is_over(self) -> bool:
        if not self.folder.exists():
            return False
        record = self.folder.read()
        faults = differences(record["config"], self.config.resolved())
        if faults and self.folder.is_empty():
            self.folder.start_over()
            return False
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
        with self._parts() as parts:
            find_goals(self.config, parts.scorers)  # before anything is written
            self._write_start(parts.scorers)
            with self._runner(parts, on_event, again=f"resume {self.config.name}") as runner:
                if self._tracker is not None:
                    self._tracker.start_study(self.config.name, self.config.resolved())
                ending = runner.run()
                asked = Asked.of(self.folder.read())
                if asked.seeds:  # its rows belong to the table
                    runner.confirm_again(asked)
            return self._finish(runner, ending)

    def _write_start(self, scorers: Sequence[Scorer]) -> None:
        own = self._generator is not None or self._scorers is not None
        started = {} if self.folder.exists() else {"created": datetime.now(UTC).isoformat()}
        self.folder.write(
            **started,
            config=self.config.resolved(),
            state="running",
            why="",
            parts="python" if own else "named",
            tracked=self._tracker is not None,
            source=str(self._source) if self._source else None,
            versions=versions(),
            higher_is_better=all_columns(scorers),
        )
        if self._source is not None and self._source.is_file() and not self.folder.yaml.exists():
            write_atomic(self.folder.yaml, self._source.read_bytes())

    @contextmanager
    def _parts(self) -> Iterator[Parts]:
        """Generator, scorers and ledger; those that we opened are closed again."""
        beside = self._source.parent if self._source else None
        generator = self._generator or load_generator(self.config, beside)
        try:
            scorers = load_scorers(self.config, beside) if self._scorers is None else self._scorers
            yield Parts(generator, scorers)
        finally:
            if self._generator is None:
                generator.close()

    @contextmanager
    def _runner(
        self, parts: Parts, on_event: OnEvent | None, *, again: str, replay: bool = False
    ) -> Iterator[Runner]:
        """A runner that stops at Ctrl-C or a stop file; `again` is the verb that goes on then.

        A `replay` leaves the search as it ended: nothing failed is tried again, nothing recorded.
        """

        def record(runner: Runner, recipe: Recipe, status: str) -> None:
            if self._tracker is not None and not replay:
                log_recipe(self._tracker, runner, recipe, status)

        wait = True
        with stop_switch(self.folder.stop) as switch, closing(Ledger(self.folder)) as ledger:
            runner = Runner(
                self.config,
                folder=self.folder,
                ledger=ledger,
                generator=parts.generator,
                scorers=parts.scorers,
                record=record,
                on_event=on_event,
                should_stop=switch,
                retry_failed=not replay,
            )
            try:
                yield runner
            except Stopped:
                runner.write_table()
                if not replay:
                    self.folder.write(state="stopped", why=switch.asked)
                raise StudyError(
                    f"stopped by {switch.asked}: {runner.cells.done} images are kept; go on with: "
                    f"teststrip study {again}"
                ) from None
            except KeyboardInterrupt:
                wait = False  # the second Ctrl-C means now; the ledger loses nothing by it
                raise
            except TeststripError as exc:
                with suppress(TeststripError):  # a full disk, say, is the reason itself
                    if not replay:
                        self.folder.write(state="stopped", why=str(exc))
                raise
            finally:
                runner.close(wait=wait)

    def _finish(self, runner: Runner, ending: Ending) -> StudyResult:
        result = summarise(runner, ending)
        if self._tracker is not None:
            files = {"images.parquet": self.folder.table.read_bytes()}
            if self.folder.yaml.exists():
                files["study.yaml"] = self.folder.yaml.read_bytes()
            finish(self._tracker, result, files)
        self.folder.write(state=ending, result=result.as_dict())
        runner.say_end()
        return result


def _studies(home: Path | str | None) -> Path:
    return (Settings() if home is None else Settings(home=Path(home))).studies


def record_of(name: str, home: Path | str | None = None) -> dict[str, Any]:
    """What `study.json` of a study holds. Raises StudyError if there is none."""
    return StudyFolder(_studies(home) / _safe(name)).read()


def refuse_import(name: str, record: Mapping[str, Any]) -> None:
    """Raise StudyError for images that were imported: there is nothing to run or to confirm."""
    if record.get("kind") == "import":
        raise StudyError(
            f"{name!r} is an import of images made elsewhere: it can be looked at, rated and "
            f"reported (teststrip study report {name}), not run, confirmed or promoted; start a "
            "study of your own around its best settings"
        )


def _safe(name: str) -> str:
    if not is_name(name):
        raise StudyError(f"{name!r} is no name of a study; see `teststrip study list`")
    return name
