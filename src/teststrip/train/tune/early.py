"""Is a trial clearly behind the best one? A paired test at the same point of their budgets."""

from collections.abc import Sequence

from teststrip.train.tune.job import FINISHED, Measured, Outcome

LEAST = 5  # pairs: with fewer the signed-rank test cannot reach 0.05


def is_behind(now: Measured, best: Outcome | None, p: float, *, higher_is_better: bool) -> bool:
    """One-sided Wilcoxon signed-rank test over the units that both have (pictures, prompts).

    Paired by unit, for held-out losses differ far more between pictures than between trials.
    """
    if best is None or (then := _at(best, now.index)) is None:
        return False
    sign = 1.0 if higher_is_better else -1.0
    lead = [sign * (now.units[u] - then.units[u]) for u in sorted(now.units) if u in then.units]
    if len([one for one in lead if one]) < LEAST:
        return False
    from scipy import stats

    return bool(stats.wilcoxon(lead, alternative="less").pvalue < p)


def best_of(outcomes: Sequence[Outcome], *, higher_is_better: bool) -> Outcome | None:
    """The finished trial with the best value; of equals the first."""
    done = [one for one in outcomes if one.state == FINISHED and one.value is not None]
    sign = -1.0 if higher_is_better else 1.0
    return min(done, key=lambda one: (sign * (one.value or 0.0), one.number), default=None)


def _at(trial: Outcome, index: int) -> Measured | None:
    return next((one for one in trial.measured if one.index == index), None)
