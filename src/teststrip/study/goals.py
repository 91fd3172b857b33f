"""The objectives of a study, with their columns found among what the scorers give."""

from collections.abc import Sequence
from dataclasses import dataclass

from teststrip.errors import ConfigError
from teststrip.protocols import Scorer
from teststrip.study.config import StudyConfig
from teststrip.study.scoring import all_columns

SECONDS = "seconds"


@dataclass(frozen=True)
class Goal:
    """An objective: the column `seconds` or a scorer's, and its good end."""

    column: str
    highest_is_best: bool


def find_goals(config: StudyConfig, scorers: Sequence[Scorer]) -> list[Goal]:
    """One goal for each objective, in their order.

    An objective names a column, or the start of just one. Raises ConfigError with all that don't.
    """
    columns = {**all_columns(scorers), SECONDS: False}
    goals, faults = [], []
    for objective in config.objectives:
        exact = [c for c in columns if c == objective.score]
        found = exact or [c for c in columns if c.startswith(objective.score)]
        if len(found) != 1:
            kind = "matches several columns" if found else "is no column of the scorers"
            faults.append(f"objectives: {objective.score!r} {kind}; known: {', '.join(columns)}")
            continue
        highest = columns[found[0]] if objective.direction is None else objective.direction == "max"
        goals.append(Goal(found[0], highest))
    if not faults and len({g.column for g in goals}) < len(goals):
        faults.append("objectives: two of them mean the same column")
    if faults:
        raise ConfigError(f"study {config.name}: {len(faults)} wrong", faults)
    return goals
