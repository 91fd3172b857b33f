"""The rule: which checkpoint, or why none. Docs: docs/training-select.md.

1. Held-out loss: checkpoints that are worse than the lowest, with evidence, are out.
2. The score of the validation pictures: of those left, what is worse than the best is out.
3. Worse than the base model in either, with evidence: out. Pictures that copy training ones: out.
4. At least one of those left must be better than the base model in one of the two, with evidence;
   else there is no answer, and it is said what would settle it.
5. Of the answer the leader is named: the best by score (by loss where no score is used) of those
   that are better than the base model. That it is better than the others is not claimed.

Each of the two questions is asked at half the error (2.5 % where both are), so that an answer
where nothing is better than the base model comes up in at most 5 % of runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from teststrip.errors import ConfigError
from teststrip.train.select.copies import Copies, copies_of
from teststrip.train.select.criterion import Criterion, loss_of, score_of
from teststrip.train.select.measured import BASE, NEAREST, Measured
from teststrip.train.select.trend import Trend, trend

ERROR = 0.05
By = Literal["both", "loss", "score"]
PREFERRED = ("likeness",)  # what a training is for, where it was measured
NOT_BY_ITSELF = (NEAREST, "diversity")  # noise is diverse, and near to nothing


@dataclass(frozen=True)
class Options:
    """How to decide. `score`: column or the start of its name; else likeness, else the first.

    `keep_back`: prompt ids that the decision must not see, so that they can confirm it.
    """

    by: By = "both"
    score: str | None = None
    copy_limit: float | None = None
    keep_back: tuple[str, ...] = ()


@dataclass(frozen=True)
class Choice:
    """What the rule says of one run.

    `answer`: the checkpoints that are left, first to last. `leader`: the one named; None where
    there is no answer, and `refusal` says why. `out`: step -> why it is not in the answer.
    `silent`: why a question could not be asked. `beside`: what other scores say of the leader.
    """

    run: Measured = field(repr=False)
    options: Options
    loss: Criterion | None
    score: Criterion | None
    trend: Trend | None
    copies: Mapping[int, Copies]
    answer: tuple[int, ...]
    leader: int | None
    out: Mapping[int, str]
    silent: tuple[str, ...] = ()
    refusal: str = ""
    beside: tuple[Criterion, ...] = field(default=(), repr=False)

    @property
    def asked(self) -> tuple[Criterion, ...]:
        """The questions that were answered."""
        return tuple(c for c in (self.loss, self.score) if c is not None)


def choose(run: Measured, options: Options | None = None) -> Choice:
    """Apply the rule. Raises ConfigError for a score that the run does not have."""
    options = options or Options()
    column = deciding_score(run, options)
    asks_loss = options.by != "score" and run.held_out is not None
    asks_score = options.by != "loss" and column is not None and run.samples is not None
    confidence = 1 - ERROR / (asks_loss + asks_score or 1)

    silent: list[str] = []
    loss = _heard(loss_of(run, confidence), silent) if options.by != "score" else None
    left = list(run.steps)
    out: dict[int, str] = {}
    if loss is not None:
        left = _keep(left, loss, out, "held-out loss is higher than that of the lowest")
    score = None
    if options.by != "loss" and left:
        score = _heard(_scored(run, column, confidence, left, options), silent)
    if score is not None:
        left = _keep(left, score, out, f"{score.name} is worse than that of the best")
    copies = copies_of(run, options.copy_limit)
    asked = [c for c in (loss, score) if c is not None]
    for step in list(left):
        if why := _against_it(step, asked, copies.get(step)):
            left.remove(step)
            out[step] = why
    supported = [s for s in left if any(c.is_better(s) for c in asked)]
    order = asked[-1].order if asked else ()
    leader = next((s for s in order if s in supported), None)
    return Choice(
        run=run,
        options=options,
        loss=loss,
        score=score,
        trend=trend(loss) if loss is not None and len(loss.order) > 2 else None,
        copies=copies,
        answer=tuple(left) if leader is not None else (),
        leader=leader,
        out=out,
        silent=tuple(silent),
        refusal="" if leader is not None else _refusal(asked, left, copies),
        beside=_beside(run, column, options),
    )


def deciding_score(run: Measured, options: Options) -> str | None:
    """The score that decides; None where the run has none. Raises ConfigError for an unknown."""
    fit = [c for c in run.scores if not c.startswith(NOT_BY_ITSELF)]
    if options.score is not None:
        found = [c for c in run.scores if c == options.score] or [
            c for c in run.scores if c.startswith(options.score)
        ]
        if len(found) != 1:
            known = ", ".join(run.scores) or "none"
            raise ConfigError(f"--score {options.score!r}: the run's scores are {known}")
        return found[0]
    preferred = [c for start in PREFERRED for c in fit if c.startswith(start)]
    return next(iter([*preferred, *fit]), None)


def _scored(
    run: Measured, column: str | None, confidence: float, steps: Iterable[int], options: Options
) -> Criterion | str:
    if column is None:
        return (
            "no validation picture has a score that says how good it is: train with "
            "validation.prompts and validation.scorers"
        )
    return score_of(run, column, confidence, steps, options.keep_back)


def _heard(found: Criterion | str, silent: list[str]) -> Criterion | None:
    if isinstance(found, Criterion):
        return found
    silent.append(found)
    return None


def _keep(steps: Iterable[int], by: Criterion, out: dict[int, str], why: str) -> list[int]:
    """The steps in the best set; the best set of the checkpoints alone where base leads."""
    kept = []
    for step in steps:
        if by.row(step) is None:
            out[step] = f"{by.name} was not measured there"
        elif step not in by.leaders:
            out[step] = why
        else:
            kept.append(step)
    return kept


def _against_it(step: int, asked: Iterable[Criterion], copies: Copies | None) -> str:
    """Why a checkpoint may not be chosen, whatever speaks for it; empty where nothing does."""
    for criterion in asked:
        if criterion.is_worse(step):
            return f"{criterion.name} is worse than the base model's"
    if copies is not None and copies.too_many:
        return str(copies)
    return ""


def _refusal(asked: Iterable[Criterion], left: Iterable[int], copies: Mapping[int, Copies]) -> str:
    asked = list(asked)
    if not asked:
        return "there is nothing to judge by"
    if not any(c.has_base for c in asked):
        return "the base model (step 0) was not measured, so nothing can be held against it"
    if not list(left):
        if any(c.too_many for c in copies.values()):
            return "every checkpoint that was left makes pictures that copy training pictures"
        return (
            "no checkpoint is left: each is worse than the base model or than the best, see below"
        )
    return "no checkpoint can be told from the base model"


def _beside(run: Measured, column: str | None, options: Options) -> tuple[Criterion, ...]:
    """The scores that decide nothing, for whoever wants to know what else changed."""
    others = [c for c in run.scores if c != column]
    found = (score_of(run, c, 1 - ERROR, without=options.keep_back) for c in others)
    return tuple(c for c in found if isinstance(c, Criterion))


__all__ = ["BASE", "Choice", "Options", "choose", "deciding_score"]
