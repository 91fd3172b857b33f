"""The best trials once more, with new seeds: the run that won may have been lucky."""

from collections.abc import Sequence

from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.early import best_of
from teststrip.train.tune.job import Job, Measured, Outcome

APART = 1_000_003  # between the search's seed and those of the repeats


class Repeats:
    """Hands out the repeats of the best trials, seed by seed, so that an early end is fair.

    The seed that a trial won with is not used again: what chose a winner cannot test it. The
    repeats of two trials share their seeds, and so the order of pictures and the noise.
    """

    def __init__(
        self, config: TuneConfig, outcomes: Sequence[Outcome], *, higher_is_better: bool
    ) -> None:
        left = list(outcomes)
        self.leaders: list[Outcome] = []
        while len(self.leaders) < config.repeat.top:
            best = best_of(left, higher_is_better=higher_is_better)
            if best is None:
                break
            self.leaders.append(best)
            left.remove(best)
        first = (config.base.seed + APART) % 2**31
        self._jobs = [
            Job(f"{one.name}-s{k + 1}", one.number, one.point, (first + k) % 2**31)
            for k in range(config.repeat.seeds)
            for one in self.leaders
        ]
        self.names = [job.name for job in self._jobs]
        self.planned = len(self._jobs)

    def next(self) -> Job | None:
        """The next repeat; None: there is none."""
        return self._jobs.pop(0) if self._jobs else None

    def note(self, job: Job, measured: Measured) -> None:
        """Nothing is decided by it."""

    def goes_on(self, job: Job, measured: Measured) -> bool:
        """A repeat is never given up: its number is what it was run for."""
        return True

    def tell(self, outcome: Outcome) -> None:
        """Its file says it all."""
