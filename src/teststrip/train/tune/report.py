"""What a search over trainings found: a table, the best with its interval, what mattered."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from teststrip.evidence.interval import Interval
from teststrip.evidence.numbers import MINUS, duration, percent
from teststrip.train.tune import evidence
from teststrip.train.tune.config import TuneConfig
from teststrip.train.tune.early import best_of
from teststrip.train.tune.evidence import Apart, Repeated
from teststrip.train.tune.job import FAILED, FINISHED, PRUNED, Outcome

if TYPE_CHECKING:
    from teststrip.evidence.importance import Importance


@dataclass(frozen=True)
class TuneReport:
    """All conclusions of a search. `best`: the trial to use, None where no trial gave a number.

    `confirmed`: `best` was trained again with new seeds. `best_set`: finished trials that cannot
    be told from the one with the best number, over held-out pictures. `importance_at`: the
    measuring that importance is computed at, of `measures`.
    """

    name: str
    state: str
    objective: str
    higher_is_better: bool
    backend: str
    design: str
    budget: int
    measures: int
    trials: tuple[Outcome, ...]
    best: Outcome | None
    confirmed: bool
    repeats: tuple[Repeated, ...]
    against: tuple[Apart, ...]
    best_set: tuple[str, ...]
    importance: "Importance | None"
    refused: str
    importance_at: int
    notes: tuple[str, ...]

    def count(self, state: str) -> int:
        """How many trials of the search ended so."""
        return sum(one.state == state for one in self.trials)

    def as_dict(self) -> dict[str, Any]:
        """In JSON types; curves are left to the trials' own files."""
        data = {k: v for k, v in vars(self).items() if k not in ("trials", "best", "importance")}
        data |= {
            "best": None if self.best is None else _row(self.best),
            "trials": [_row(one) for one in self.trials],
            "repeats": [asdict(one) for one in self.repeats],
            "against": [asdict(one) for one in self.against],
            "importance": [
                {
                    "setting": term.name,
                    "share": asdict(term.share),
                    "band": term.band,
                    "p": term.p,
                    "shown": term.shown,
                }
                for term in (*self._mains, *self._pairs)
            ],
        }
        return data

    def __str__(self) -> str:
        """For the console."""
        return "\n".join(_lines(self))

    def markdown(self) -> str:
        """The same as a page: a table of trials, and the sentences."""
        keys = list(dict.fromkeys(key for one in self.trials for key in one.point))
        head = ["trial", *keys, self.objective, "state", "seconds"]
        rows = [
            [
                one.name,
                *(str(one.point.get(key, "")) for key in keys),
                _number(one.value),
                one.state + (f": {one.why}" if one.why else ""),
                f"{one.seconds:.1f}",
            ]
            for one in self.trials
        ]
        table = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
        return "\n".join([f"# {self.name}", "", *_lines(self)[1:], "", *table, ""])

    @property
    def _mains(self) -> tuple[Any, ...]:
        return () if self.importance is None or self.refused else self.importance.mains

    @property
    def _pairs(self) -> tuple[Any, ...]:
        return () if self.importance is None or self.refused else self.importance.pairs


def make_report(
    config: TuneConfig, outcomes: Sequence[Outcome], state: str, *, higher_is_better: bool
) -> TuneReport:
    """Work out everything from how the trials ended."""
    found = [one for one in outcomes if one.seed is None]
    ordered = evidence.order(evidence.repeated(outcomes), higher_is_better=higher_is_better)
    best = best_of(found, higher_is_better=higher_is_better)
    if ordered:
        best = next(one for one in found if one.name == ordered[0].name)
    important, refused, index = evidence.importance_of(
        config, found, higher_is_better=higher_is_better
    )
    notes = list(important.notes) if important is not None and not refused else []
    if notes and config.design in ("grid", "factorial"):
        notes.append(evidence.ONE_SEED)
    if failed := sum(one.state == FAILED for one in found):
        notes.append(f"{failed} of {len(found)} trials failed; what matters is said of the others.")
    return TuneReport(
        name=config.name,
        state=state,
        objective=config.objective.score,
        higher_is_better=higher_is_better,
        backend=config.backend,
        design=config.design,
        budget=config.budget,
        measures=config.measures,
        trials=tuple(_sorted(found, higher_is_better=higher_is_better)),
        best=best,
        confirmed=bool(ordered),
        repeats=tuple(ordered),
        against=tuple(evidence.apart(ordered, higher_is_better=higher_is_better)),
        best_set=evidence.best_set(config, found, higher_is_better=higher_is_better),
        importance=important,
        refused=refused,
        importance_at=index,
        notes=tuple(notes),
    )


def _lines(report: TuneReport) -> list[str]:
    ends = ", ".join(
        f"{report.count(state)} {word}"
        for state, word in ((FINISHED, "finished"), (PRUNED, "given up early"), (FAILED, "failed"))
        if report.count(state)
    )
    lines = [
        f"{report.name}: {report.state}; {ends or 'nothing ended yet'}; "
        f"{report.budget} samples each, {report.design} on {report.backend}"
    ]
    lines += [
        f"  {one.name}: {_number(one.value) if one.state == FINISHED else one.state} "
        f"({_point(one)}; {duration(one.seconds)})" + (f": {one.why}" if one.why else "")
        for one in report.trials
    ]
    if report.best is not None:
        lines.append(_best(report))
    for one in report.repeats:
        failed = f", {one.failed} more failed" if one.failed else ""
        lines.append(f"  {one.name} again: {_span(one.value)} over {one.value.units} seeds{failed}")
    for pair in report.against:
        first = report.repeats[0].name
        lines.append(
            f"  {first} is better than {pair.other} by {_span(pair.lead)} (p {pair.p:.2g})"
            if pair.shown
            else f"  {first} and {pair.other} cannot be told apart: {_span(pair.lead)} "
            f"over {pair.lead.units} seeds (p {pair.p:.2g})"
        )
    return lines + _what_matters(report)


def _best(report: TuneReport) -> str:
    assert report.best is not None  # noqa: S101 - the caller looked
    text = f"best: {report.best.name} ({_point(report.best)})"
    if not report.confirmed:
        text += f", {report.objective} {_number(report.best.value)}: one training, chosen by it"
    others = [name for name in report.best_set if name != report.best.name]
    if others:
        text += f"; not distinguishable over held-out pictures: {', '.join(others)}"
    return text


def _what_matters(report: TuneReport) -> list[str]:
    if report.refused:
        return [f"what matters: not said. {report.refused}"]
    if report.importance is None:
        return []
    at = f"measuring {report.importance_at} of {report.measures}"
    lines = [f"what matters, at {at} (share of the variance between trials):"]
    for term in (*report._mains, *(t for t in report._pairs if t.shown)):
        verdict = "matters" if term.shown else "not shown"
        lines.append(
            f"  {term.name}: {percent(term.share.mean)}, chance alone reaches "
            f"{percent(term.band)} (p {term.p:.2g}): {verdict}"
        )
    return [*lines, *(f"  note: {note}" for note in report.notes)]


def _sorted(found: Sequence[Outcome], *, higher_is_better: bool) -> list[Outcome]:
    sign = -1.0 if higher_is_better else 1.0
    states = {FINISHED: 0, PRUNED: 1, FAILED: 2}
    return sorted(found, key=lambda one: (states[one.state], sign * (one.value or 0.0), one.number))


def _row(one: Outcome) -> dict[str, Any]:
    return {
        "name": one.name,
        "state": one.state,
        "value": one.value,
        "why": one.why,
        "point": dict(one.point),
        "seconds": one.seconds,
        "measured": len(one.measured),
    }


def _point(one: Outcome) -> str:
    return ", ".join(f"{key}={_short(value)}" for key, value in one.point.items())


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    return "no number" if value is None else f"{value:.5g}".replace("-", MINUS, 1)


def _span(value: Interval) -> str:
    if value.low is None or value.high is None:
        return f"{value.mean:.5g} (no interval)"
    return f"{value.mean:.5g} [{value.low:.5g}, {value.high:.5g}]"
