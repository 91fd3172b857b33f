"""A search over trainings, from top to bottom: trials, the best once more, what came of it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from teststrip.errors import MissingExtra, StudyError
from teststrip.study.interrupt import stop_switch
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.folder import TuneFolder
from teststrip.train.tune.job import FAILED, Objective, Outcome
from teststrip.train.tune.repeats import Repeats
from teststrip.train.tune.report import TuneReport, make_report
from teststrip.train.tune.scene import Scene, Turns

OnEvent = Callable[[Outcome, int, int], None]
ALL_ALIKE = 3


def search(
    config: TuneConfig,
    home: Path,
    objective: Objective,
    *,
    higher_is_better: bool = False,
    on_event: OnEvent | None = None,
) -> TuneReport:
    """Run a search, or go on with it; what ended is never run again.

    `on_event` gets each outcome, how many trials ended and how many there will be. Raises
    ConfigError for another search of that name, StudyError where no trial gave a number or the
    first ones all failed alike, StorageError where the disk refuses (resume then).
    """
    from teststrip.train.tune.book import Book

    folder = TuneFolder(home / "tunes" / config.name)
    with folder.locked():
        folder.begin(config.resolved())
        with stop_switch(folder.stop) as switch, _backend(config) as run:
            count = _Count(folder, on_event)
            scene: dict[str, Any] = {
                "config": config,
                "folder": folder,
                "objective": objective,
                "higher_is_better": higher_is_better,
                "is_asked_to_stop": switch,
            }
            book = Book(config, folder.journal, higher_is_better=higher_is_better)
            count.planned = book.planned
            run(Scene(**scene, on_outcome=count.search), book)
            found = [one for one in folder.outcomes() if one.seed is None]
            is_over = len(found) >= book.planned
            if is_over and not switch():
                repeats = Repeats(config, found, higher_is_better=higher_is_better)
                count.planned += repeats.planned
                run(Scene(**scene, on_outcome=count.repeat, early=False), repeats)
                is_over = all(folder.outcome(name) is not None for name in repeats.names)
        state = "finished" if is_over else "stopped"
        report = make_report(config, folder.outcomes(), state, higher_is_better=higher_is_better)
        folder.finish(report, state, _training_of(config, report))
    if report.best is None and state == "finished":
        raise StudyError(_no_number(report))
    return report


def _backend(config: TuneConfig) -> AbstractContextManager[Callable[[Scene, Turns], None]]:
    """Where trials run: this process, or a cluster that is open as long as it is needed."""
    if config.backend == "optuna":
        from teststrip.train.tune import in_process

        return in_process.opened(config)
    try:
        from teststrip.train.tune import on_ray
    except ModuleNotFoundError as exc:
        if not (exc.name or "").startswith("ray"):
            raise
        raise MissingExtra(f"tuning on a Ray cluster (package {exc.name})", "ray") from exc
    return on_ray.opened(config)


def _training_of(config: TuneConfig, report: TuneReport) -> dict[str, Any] | None:
    """The best trial's settings as a training of its own, measured as the file's training is."""
    if report.best is None:
        return None
    trained = config.training(report.best.point, f"{config.name}-best")
    whole = trained.model_copy(update={"every": config.base.every})
    return whole.model_dump(mode="json", exclude_defaults=True)


class _Count:
    """Counts what ended, and gives up a search whose first trials all fail for one reason."""

    def __init__(self, folder: TuneFolder, on_event: OnEvent | None) -> None:
        self.planned = 0
        self._folder = folder
        self._on_event = on_event

    def search(self, outcome: Outcome) -> None:
        """A trial of the search ended."""
        self.repeat(outcome)
        ended = self._folder.outcomes()
        reasons = {one.why for one in ended}
        all_failed = {one.state for one in ended} == {FAILED}
        if len(ended) == ALL_ALIKE < self.planned and all_failed and len(reasons) == 1:
            raise StudyError(
                f"the first {ALL_ALIKE} trials failed for one reason, the others would, too: "
                f"{outcome.why}"
            )

    def repeat(self, outcome: Outcome) -> None:
        """A repeat ended."""
        if self._on_event is not None:
            self._on_event(outcome, len(self._folder.outcomes()), self.planned)


def _no_number(report: TuneReport) -> str:
    reasons = dict.fromkeys(one.why for one in report.trials if one.why)
    return f"none of {len(report.trials)} trials gave a number: " + "; ".join(list(reasons)[:3])
