"""One trial's turn: what is trained, what is measured on the way, how it ended; never twice."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from teststrip.errors import StorageError, StudyError, TeststripError

if TYPE_CHECKING:
    from teststrip.train.config import TrainConfig
    from teststrip.train.tune.config import TuneConfig
    from teststrip.train.tune.folder import TuneFolder

FINISHED, FAILED, PRUNED = "finished", "failed", "pruned"
log = logging.getLogger(__name__)


class TrialFailed(TeststripError):  # noqa: N818 - the word for it
    """A training ended without a number; the message says why."""


class TrialPruned(TeststripError):  # noqa: N818
    """A training was given up, being behind the others."""


class TrialStopped(TeststripError):  # noqa: N818
    """Somebody asked to stop; the training can go on later."""


@dataclass(frozen=True)
class Job:
    """A trial to run. `seed`: None in the search (the training's own), a new one in a repeat."""

    name: str
    number: int
    point: Mapping[str, Any]
    seed: int | None = None


@dataclass(frozen=True)
class Measured:
    """The objective on the way: at optimizer step `step`, the `index`-th of `measures` points.

    `units`: the number of each held-out picture (loss) or of each prompt (score); `value` is
    their mean.
    """

    step: int
    index: int
    value: float
    units: Mapping[str, float]


@dataclass(frozen=True)
class Outcome:
    """How a trial ended. `value` is None unless it finished: a failure is never a number."""

    name: str
    number: int
    state: str
    value: float | None
    why: str = ""
    seed: int | None = None
    seconds: float = 0.0
    point: Mapping[str, Any] = field(default_factory=dict)
    measured: tuple[Measured, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Outcome":
        """From JSON."""
        measured = tuple(Measured(**one) for one in data["measured"])
        return cls(**{**data, "measured": measured})

    def as_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return asdict(self)


class Report(Protocol):
    """What an objective is given to talk to."""

    def __call__(self, measured: Measured) -> bool:
        """Tell a measuring; False: give the trial up (raise TrialPruned)."""
        ...

    def is_asked_to_stop(self) -> bool:
        """True: keep what there is and raise TrialStopped. Cheap, for every step."""
        ...


Objective = Callable[["TrainConfig", Report], float]
"""The one objective of all back ends: a training as a number.

Raises TrialFailed, TrialPruned or TrialStopped where there is none.
"""


class _Noting:
    """Keeps what is told before asking whether to go on."""

    def __init__(self, goes_on: Callable[[Measured], bool], is_asked: Callable[[], bool]) -> None:
        self.measured: list[Measured] = []
        self._goes_on = goes_on
        self.is_asked_to_stop = is_asked

    def __call__(self, measured: Measured) -> bool:
        self.measured.append(measured)
        return self._goes_on(measured)


def take(
    job: Job,
    config: "TuneConfig",
    folder: "TuneFolder",
    objective: Objective,
    *,
    goes_on: Callable[[Measured], bool],
    is_asked_to_stop: Callable[[], bool],
) -> Outcome | None:
    """Run a trial and keep its outcome; one that is known is not run. None: it was stopped.

    What goes wrong in a training is that trial's failure, with its reason. A disk that refuses
    (StorageError) and a run that somebody else holds (StudyError) end the search.
    """
    if (known := folder.outcome(job.name)) is not None:
        return known
    report = _Noting(goes_on, is_asked_to_stop)
    started = time.monotonic()
    state, value, why = FAILED, None, ""
    try:
        value = float(objective(config.training(job.point, job.name, job.seed), report))
    except TrialStopped:
        return None
    except TrialPruned as exc:
        state, why = PRUNED, str(exc)
    except (StorageError, StudyError):
        raise
    except TeststripError as exc:
        why = str(exc)
    except Exception as exc:
        log.exception("trial %s", job.name)
        why = f"{type(exc).__name__}: {exc}".partition("\n")[0][:500]
    else:
        if math.isfinite(value):
            state = FINISHED
        else:
            value, why = None, f"the objective is {value}, which is no number to compare"
    outcome = Outcome(
        name=job.name,
        number=job.number,
        state=state,
        value=value if state == FINISHED else None,
        why=why,
        seed=job.seed,
        seconds=round(time.monotonic() - started, 3),
        point=dict(job.point),
        measured=tuple(report.measured),
    )
    folder.keep(outcome)
    return outcome
