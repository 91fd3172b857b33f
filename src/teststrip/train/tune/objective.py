"""The one objective: a training run at its budget as a number, whatever back end runs it."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from teststrip.errors import ConfigError, StudyError
from teststrip.plugins import SCORERS, load
from teststrip.train.config import TrainConfig
from teststrip.train.folder import RunFolder
from teststrip.train.measure.written import rows_of
from teststrip.train.tune.config import VAL_LOSS, TuneConfig
from teststrip.train.tune.job import (
    FAILED,
    FINISHED,
    Measured,
    Report,
    TrialFailed,
    TrialPruned,
    TrialStopped,
)

# Of the pictures' own scores (measure/nearest.py), whose columns name the pictures as well.
_CLOSENESS = {"likeness": True, "nearest": False, "diversity": True}
WAIT_S = 60.0


@dataclass(frozen=True)
class Goal:
    """What is measured: `val_loss`, or the score whose column begins with `column`."""

    column: str
    higher_is_better: bool

    @property
    def on_loss(self) -> bool:
        """The held-out loss."""
        return self.column == VAL_LOSS


def find_goal(config: TuneConfig) -> Goal:
    """The objective's column and its good end. Raises ConfigError if no scorer gives it."""
    asked = config.objective
    if config.on_loss:
        return Goal(VAL_LOSS, higher_is_better=asked.direction == "max")
    known = dict(_CLOSENESS)
    for scorer in config.base.validation.scorers:
        known |= load(scorer.name, SCORERS, "scorer")(**scorer.options).columns
    found = [name for name in known if name == asked.score] or [
        name for name in known if name.startswith(asked.score)
    ]
    if len(found) != 1:
        kind = "matches several scores" if found else "is no score of a checkpoint"
        raise ConfigError(
            f"objective: {asked.score!r} {kind}; known: {', '.join([VAL_LOSS, *known])}"
        )
    higher = known[found[0]] if asked.direction is None else asked.direction == "max"
    return Goal(found[0], higher)


@dataclass(frozen=True)
class Training:
    """Trains and measures (an `Objective`). Holds plain values only: it travels to workers.

    `measures`: how often the objective is known on the way. `parent`: MLflow run of the search.
    """

    home: Path
    goal: Goal
    measures: int
    track: bool = True
    parent: str | None = None
    device: str = "auto"

    def __call__(self, config: TrainConfig, report: Report) -> float:
        """The objective at the end of the budget.

        Raises TrialFailed (diverged, not measured), TrialPruned, TrialStopped.
        """
        from teststrip.train.run import start

        folder = RunFolder.of(self.home, config.name)
        watch = _Watch(folder, config, self.goal, self.measures, report)
        _wait_until_free(folder, report)
        try:
            result = start(
                config,
                self.home,
                track=self.track,
                parent=self.parent,
                device=self.device,
                should_stop=watch,
            )
        except StudyError as exc:
            if report.is_asked_to_stop():  # before the first step
                raise TrialStopped(str(exc)) from exc
            raise
        if result.state == FAILED:
            raise TrialFailed(result.why or "the training failed")
        if result.state == FINISHED:
            return self._last(watch)
        if watch.why:
            folder.write(why=watch.why)
            raise TrialPruned(watch.why)
        raise TrialStopped(result.why or "stopped")

    def _last(self, watch: "_Watch") -> float:
        watch.look()
        last = watch.last
        if last is None or last.index < self.measures:
            raise TrialFailed(
                f"{self.goal.column} is no number at the end of the training: it diverged (try a "
                "lower learning rate), or nothing could be measured"
            )
        return last.value


def _wait_until_free(folder: RunFolder, report: Report) -> None:
    """A worker whose driver was killed may still be on its way out, with the run in its hands."""
    until = time.monotonic() + WAIT_S
    while folder.holder() is not None and time.monotonic() < until:
        if report.is_asked_to_stop():
            raise TrialStopped("stopped while another process held the run")
        time.sleep(0.1)


class _Watch:
    """Asked after every step: reads what the run wrote, reports it, and says whether to stop."""

    def __init__(
        self, folder: RunFolder, config: TrainConfig, goal: Goal, measures: int, report: Report
    ) -> None:
        self.why = ""
        self.last: Measured | None = None
        self._folder = folder
        self._steps = config.steps
        self._goal = goal
        self._measures = measures
        self._report = report
        self._file = folder.held_out if goal.on_loss else folder.path / "samples.parquet"
        self._seen: tuple[int, int] | None = None

    def __call__(self) -> bool:
        self.look()
        return bool(self.why) or self._report.is_asked_to_stop()

    def look(self) -> None:
        """Report what is new."""
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return
        seen = (status.st_mtime_ns, status.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        for measured in self._measured():
            if self.last is None or measured.step > self.last.step:
                self.last = measured
                if not self._report(measured):
                    self.why = f"given up by the search at step {measured.step} of {self._steps}"

    def _measured(self) -> list[Measured]:
        units = losses(self._folder) if self._goal.on_loss else scores(self._folder, self._goal)
        found = []
        for step, of in sorted(units.items()):
            index = step * self._measures // self._steps
            if index >= 1 and all(map(math.isfinite, of.values())):  # step 0 is the base model
                value = math.fsum(of.values()) / len(of)
                found.append(Measured(step, index, value, of))
        return found


def losses(folder: RunFolder) -> dict[int, dict[str, float]]:
    """Step -> held-out picture -> loss. A line that comes twice counts as it came last."""
    found: dict[int, dict[str, float]] = {}
    for row in rows_of(folder.held_out):
        value = row.get("loss")
        value = math.nan if value is None else float(value)
        found.setdefault(row["step"], {})[str(row["picture"])] = value
    return found


def scores(folder: RunFolder, goal: Goal) -> dict[int, dict[str, float]]:
    """Step -> prompt -> mean over its seeds; images without a score are left out."""
    from teststrip.train.measure import table

    values: dict[int, dict[str, list[float]]] = {}
    for row in table.read(folder.path / "samples.parquet"):
        value = _of(row, goal.column)
        if value is not None and math.isfinite(value):
            values.setdefault(row["step"], {}).setdefault(row["prompt_id"], []).append(value)
    return {
        step: {prompt: math.fsum(of) / len(of) for prompt, of in prompts.items()}
        for step, prompts in values.items()
    }


def _of(row: Mapping[str, Any], column: str) -> float | None:
    """The column of that name, or the one that begins so (`nearest` is `nearest:clip_small@...`).

    `nearest_picture` is a name and no score.
    """
    if column in row:
        return row[column]
    return next((v for k, v in row.items() if k.startswith(f"{column}:")), None)
