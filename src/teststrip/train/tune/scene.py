"""What both back ends run: whose turn it is, with what, and whether a trial goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.early import best_of, is_behind
from teststrip.train.tune.folder import TuneFolder
from teststrip.train.tune.job import Job, Measured, Objective, Outcome

OnOutcome = Callable[[Outcome], None]


class Turns(Protocol):
    """Who is next: the search (`Book`) or the repeats (`Repeats`)."""

    @property
    def planned(self) -> int:
        """How many there are in all."""
        ...

    def next(self) -> Job | None:
        """A trial to run; None: there is none."""
        ...

    def note(self, job: Job, measured: Measured) -> None:
        """Keep a measuring."""
        ...

    def goes_on(self, job: Job, measured: Measured) -> bool:
        """Keep a measuring and say whether the trial goes on."""
        ...

    def tell(self, outcome: Outcome) -> None:
        """Keep how a trial ended."""
        ...


@dataclass(frozen=True)
class Scene:
    """What both back ends run in. `early`: may trials be given up (a repeat may not)?"""

    config: TuneConfig
    folder: TuneFolder
    objective: Objective
    higher_is_better: bool
    is_asked_to_stop: Callable[[], bool]
    on_outcome: OnOutcome
    early: bool = True


def judge(scene: Scene, turns: Turns, job: Job) -> Callable[[Measured], bool]:
    """Does this trial go on after a measuring?"""

    def goes_on(measured: Measured) -> bool:
        if measured.index >= scene.config.measures:  # its budget is used: nothing to save
            turns.note(job, measured)
            return True
        return turns.goes_on(job, measured) and not behind(scene, measured)

    return goes_on


def behind(scene: Scene, measured: Measured) -> bool:
    """The Wilcoxon rule, where it is asked for, against the best trial that finished."""
    stop = scene.config.early_stop
    used_up = measured.index >= scene.config.measures
    if not scene.early or stop.kind != "wilcoxon" or measured.index < stop.grace or used_up:
        return False
    best = best_of(
        [one for one in scene.folder.outcomes() if one.seed is None],
        higher_is_better=scene.higher_is_better,
    )
    return is_behind(measured, best, stop.p, higher_is_better=scene.higher_is_better)
