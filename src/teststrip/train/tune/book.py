"""The search in Optuna's journal: who is next, what was told; the same for both back ends.

As in a study, a trial's sampler is seeded by the search's seed and the trial's number: a search
that was killed and resumed asks for the same points as one that ran straight through (one by one;
side by side it depends on who ends first). A trial that a crash left running is handed out again.
"""

import hashlib
import warnings
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from teststrip.study.journal import GivenPoint, journal_storage, storing
from teststrip.study.space import Point, Space
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.job import FAILED, FINISHED, Job, Measured, Outcome

START = 8  # points drawn at random before a sampler has something to learn from


class Book:
    """Hands out trials and keeps what became of them. One thread of one process uses it."""

    def __init__(self, config: TuneConfig, journal: Path, *, higher_is_better: bool) -> None:
        self._config = config
        self._space = Space(config.space)
        self._points = config.points() if config.is_fixed else None
        self._journal = journal
        self._given: set[int] = set()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with storing(self._journal):
            self.study = optuna.create_study(
                storage=journal_storage(journal),
                study_name=config.name,
                direction="maximize" if higher_is_better else "minimize",
                pruner=self._pruner(),
                load_if_exists=True,
            )

    @property
    def planned(self) -> int:
        """How many trials there will be."""
        return len(self._points) if self._points is not None else self._config.trials or 0

    def next(self) -> Job | None:
        """The next trial that has no end yet and was not handed out; None: there is none."""
        with storing(self._journal):
            known = self.study.get_trials(deepcopy=False)
            number = next(
                (
                    n
                    for n in range(self.planned)
                    if n not in self._given
                    and (n >= len(known) or not known[n].state.is_finished())
                ),
                None,
            )
            if number is None:
                return None
            self._given.add(number)
            self.study.sampler = self._sampler(number)
            trial_id = known[number]._trial_id if number < len(known) else None
            trial_id = self.study.ask()._trial_id if trial_id is None else trial_id
            trial = optuna.trial.Trial(self.study, trial_id)
            point: Point = self._space.draw(lambda name, param: param.suggest(trial, name))
            name = f"{self._config.name}-t{number:03d}"
            trial.set_user_attr("run", name)
        return Job(name, number, point)

    def note(self, job: Job, measured: Measured) -> None:
        """Keep a measuring; told again by a resumed trial, the first one stays."""
        with storing(self._journal):
            known = self._frozen(job)
            if not known.state.is_finished() and measured.index not in known.intermediate_values:
                self._trial(job).report(measured.value, measured.index)

    def goes_on(self, job: Job, measured: Measured) -> bool:
        """Keep a measuring and say whether successive halving lets the trial go on."""
        self.note(job, measured)
        with storing(self._journal):
            return not self._trial(job).should_prune()

    def tell(self, outcome: Outcome) -> None:
        """End a trial: a number, failed or pruned; harmless if it is told."""
        with storing(self._journal):
            if self.study.get_trials(deepcopy=False)[outcome.number].state.is_finished():
                return
            trial = self._trial(outcome)
            if outcome.why:
                trial.set_user_attr("why", outcome.why[:500])
            if outcome.state == FINISHED:
                self.study.tell(outcome.number, outcome.value)
            elif outcome.state == FAILED or not self._frozen(outcome).intermediate_values:
                self.study.tell(outcome.number, state=TrialState.FAIL)
            else:
                self.study.tell(outcome.number, state=TrialState.PRUNED)

    def _frozen(self, job: Job | Outcome) -> Any:
        return self.study.get_trials(deepcopy=False)[job.number]

    def _trial(self, job: Job | Outcome) -> Any:
        return optuna.trial.Trial(self.study, self._frozen(job)._trial_id)

    def _sampler(self, number: int) -> Any:
        if self._points is not None:
            point = self._points[number]
            params = self._space.params
            return GivenPoint({name: params[name].encode(v) for name, v in point.items()})
        text = f"{self._config.seed}|{number}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            if self._config.design == "gp":
                return optuna.samplers.GPSampler(seed=seed, n_startup_trials=START)
            return optuna.samplers.TPESampler(seed=seed, n_startup_trials=START, constant_liar=True)

    def _pruner(self) -> Any:
        stop = self._config.early_stop
        if stop.kind != "halving":
            return optuna.pruners.NopPruner()
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=stop.grace, reduction_factor=stop.eta
        )
