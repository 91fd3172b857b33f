"""What each checkpoint scored, with the base model as the measure: n and intervals always."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from teststrip.evidence.interval import Interval, interval
from teststrip.studio.runs.run import BASE, Run, Sample


@dataclass(frozen=True)
class Standing:
    """A score at a checkpoint. `gain`: the paired difference to the base model, positive is
    better, None for the base itself and without it. Units of both are prompts."""

    column: str
    mean: Interval
    gain: Interval | None
    images: int
    pairs: int

    @property
    def verdict(self) -> str:
        """`better` or `worse` where the interval says so, else empty."""
        if self.gain is None or self.gain.low is None or self.gain.high is None:
            return ""
        return "better" if self.gain.low > 0 else "worse" if self.gain.high < 0 else ""


def standings(run: Run) -> dict[int, tuple[Standing, ...]]:
    """Step -> a standing for each score that any image of that checkpoint has."""
    base = run.at(BASE)
    return {
        step: tuple(
            found
            for column, higher in run.head.higher.items()
            if (found := _standing(run, step, base, column, 1 if higher else -1)) is not None
        )
        for step in run.checkpoints
    }


def _standing(
    run: Run, step: int, base: Mapping[tuple[str, int], Sample], column: str, sign: int
) -> Standing | None:
    mine = {p: s.scores[column] for p, s in run.at(step).items() if column in s.scores}
    if not mine:
        return None
    pairs = {
        p: sign * (value - base[p].scores[column])
        for p, value in mine.items()
        if p in base and column in base[p].scores
    }
    gain = _by_prompt(pairs.items()) if pairs and step != BASE else None
    return Standing(column, _by_prompt(mine.items()), gain, len(mine), len(pairs))


def _by_prompt(values: Iterable[tuple[tuple[str, int], float]]) -> Interval:
    prompts: dict[str, list[float]] = {}
    for (prompt, _), value in values:
        prompts.setdefault(prompt, []).append(value)
    return interval(np.array([np.mean(of_one) for of_one in prompts.values()]))
