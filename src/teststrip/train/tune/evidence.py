"""What a search over trainings shows, by the rules of a study: a trial is a recipe, a held-out
picture (or a prompt) is a prompt."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.errors import StudyError
from teststrip.evidence.facts import SPACE_FILLING, StudyFacts
from teststrip.evidence.interval import Interval, holm, interval, p_value
from teststrip.recipe import canonical_json
from teststrip.study.space import DUMMY
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.job import FAILED, FINISHED, Measured, Outcome

if TYPE_CHECKING:
    from teststrip.evidence.importance import Importance

SCREEN = " A screening study says what matters:"
ONE_SEED = (
    "Every trial is one training with one seed: in a full grid an effect is tested over held-out "
    "pictures, for these trainings."
)


@dataclass(frozen=True)
class Repeated:
    """One of the best trials, trained again: `value` over `seeds`, those that failed aside."""

    name: str
    value: Interval
    by_seed: dict[int, float]
    failed: int


@dataclass(frozen=True)
class Apart:
    """The best repeated trial against another, paired by seed; `lead` positive: it is better."""

    other: str
    lead: Interval
    p: float
    shown: bool


def importance_of(
    config: TuneConfig, found: Sequence[Outcome], *, higher_is_better: bool
) -> "tuple[Importance | None, str, int]":
    """(importance, why there is none, the measuring that it is computed at).

    At the last measuring that every trial without failure reached: where trials were given up
    early, what went on was chosen by its own scores.
    """
    left = [one for one in found if one.state != FAILED and one.measured]
    if len(left) < 2:
        return None, f"Only {len(left)} of {len(found)} trials have a number.", 0
    index = min(one.measured[-1].index for one in left)
    table = _table(config, {one.name: (one, _until(one, index)) for one in left})
    from teststrip.evidence.grid import build
    from teststrip.evidence.importance import importance

    facts = _facts(config, higher_is_better=higher_is_better)
    try:
        grid = build(table, facts)
    except StudyError as exc:
        return None, str(exc), index
    result = importance(table, facts, grid)
    refused = result.refused.partition(SCREEN)[0]
    if refused:
        refused += (
            " A space-filling design says what matters: teststrip train tune FILE --set "
            f"name={config.name}-screen --set design=sobol --set trials=32 --set early_stop=none"
        )
    return result, refused, index


def best_set(
    config: TuneConfig, found: Sequence[Outcome], *, higher_is_better: bool
) -> tuple[str, ...]:
    """The finished trials that cannot be told from the best, paired over pictures (or prompts)."""
    done = [one for one in found if one.state == FINISHED and one.measured]
    if len(done) < 2:
        return tuple(one.name for one in done)
    from teststrip.evidence.ranking import rank

    table = _table(config, {one.name: (one, one.measured[-1]) for one in done})
    return rank(table, _facts(config, higher_is_better=higher_is_better)).best_set


def repeated(found: Sequence[Outcome]) -> list[Repeated]:
    """Repeats by trial, an interval over seeds each (Student's t)."""
    trials: dict[int, list[Outcome]] = {}
    for one in found:
        if one.seed is not None:
            trials.setdefault(one.number, []).append(one)
    out = []
    for runs in trials.values():
        values = {
            one.seed: one.value for one in runs if one.value is not None and one.seed is not None
        }
        out.append(
            Repeated(
                name=runs[0].name.rpartition("-s")[0],
                value=interval(np.array(list(values.values()), dtype=float)),
                by_seed=values,
                failed=sum(one.state == FAILED for one in runs),
            )
        )
    return out


def order(repeats: Sequence[Repeated], *, higher_is_better: bool) -> list[Repeated]:
    """The best first; what failed with some seed stands behind what never did."""
    sign = -1.0 if higher_is_better else 1.0
    with_value = [one for one in repeats if one.by_seed]
    return sorted(with_value, key=lambda one: (one.failed, sign * one.value.mean, one.name))


def apart(ordered: Sequence[Repeated], *, higher_is_better: bool) -> list[Apart]:
    """The first against each other one: paired by seed, t test, Holm over all of them."""
    if not ordered:
        return []
    sign = 1.0 if higher_is_better else -1.0
    best, *others = ordered
    leads = []
    for other in others:
        both = sorted(set(best.by_seed) & set(other.by_seed))
        leads.append(np.array([sign * (best.by_seed[s] - other.by_seed[s]) for s in both]))
    p = holm(np.array([p_value(lead) for lead in leads]))
    return [
        Apart(other.name, found, float(p[k]), bool(p[k] < 0.05 and (found.low or 0.0) > 0))
        for k, (other, found) in enumerate(zip(others, map(interval, leads), strict=True))
    ]


def _until(one: Outcome, index: int) -> Measured:
    return [measured for measured in one.measured if measured.index <= index][-1]


def _facts(config: TuneConfig, *, higher_is_better: bool) -> StudyFacts:
    return StudyFacts(
        name=config.name,
        objective=_column(config),
        higher_is_better=higher_is_better,
        varied=tuple(config.space),
        design=config.design,
        source="FILE",
    )


def _column(config: TuneConfig) -> str:
    return config.objective.score


def _table(config: TuneConfig, measured: dict[str, tuple[Outcome, Measured]]) -> Any:
    """A row for each trial and picture (or prompt)."""
    import pandas as pd

    from teststrip.evidence.table import PARAM, RECIPE, checked

    rows = []
    for name, (one, at) in measured.items():
        cells = {
            f"{PARAM if key.startswith(DUMMY) else RECIPE}{key}": _cell(one.point.get(key))
            for key in config.space
        }
        for unit, value in at.units.items():
            rows.append(
                {"recipe_id": name, "prompt_id": unit, "seed": 0, _column(config): value} | cells
            )
    return checked(pd.DataFrame(rows), "the trials", _column(config))


def _cell(value: Any) -> Any:
    return canonical_json(value) if isinstance(value, list | tuple | dict) else value


def is_space_filling(config: TuneConfig) -> bool:
    """May importance be asked for at all?"""
    return config.design in SPACE_FILLING
