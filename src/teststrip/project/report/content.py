"""What a report says, gathered once for the page and the comment: of a change, or of one side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teststrip.evidence.numbers import Numbers
from teststrip.project.layout import MADE, REFERENCE
from teststrip.project.report.changes import Changed, Ran, elsewhere, parameters, stages, stale
from teststrip.project.report.curves import Panel, panels
from teststrip.project.report.metrics import Metric, metrics
from teststrip.project.report.pairs import Pair, blocks, pairs
from teststrip.project.report.pictures import Sheet, Side, sheet
from teststrip.project.report.results import Results
from teststrip.project.report.verdict import NONE, Sides, Verdict, judge, numbers
from teststrip.project.scores import CHECK, Row

AUTO = "auto"
TUNED = Sides(
    "the base model",
    "the fine-tuned model",
    "what was learned",
    ("for the base model", "for the fine-tuned one"),
)
CHOSEN = Sides(
    "the baseline",
    "the chosen recipe",
    "the chosen recipe",
    ("for the baseline", "for the chosen recipe"),
)
EMPTY = Sheet(None, (), ())
ROLES = {"study": ("Baseline", "Chosen")}


@dataclass(frozen=True)
class Content:
    """A whole report. `changes` and `ran` are None where one side alone is shown.

    `names`: how the two sides are called in tables; `about`: one line on what was compared.
    """

    kind: str
    about: str
    verdict: Verdict
    names: tuple[str, str]
    confidence: float
    found: tuple[Pair, ...] = ()
    score: str | None = None
    warnings: tuple[str, ...] = ()
    changes: tuple[Changed, ...] | None = None
    ran: tuple[Ran, ...] | None = None
    metrics: tuple[Metric, ...] = ()
    panels: tuple[Panel, ...] = ()
    pictures: Sheet = EMPTY
    alone: bool = False

    @property
    def short(self) -> tuple[str, str]:
        """The two sides in a table's head."""
        return self.names if self.alone else ("before", "after")

    def write(self, pair: Pair) -> Numbers:
        """How a score's numbers are written."""
        return numbers(pair)


def change(before: Results, after: Results, score: str, confidence: float) -> Content:
    """What a change did: `after` against `before`, on blocks that both have.

    `score`: a column, or a scorer's name, or `auto`: the first of the scorers.
    """
    about = f"{before.name}, then {after.name}"
    names = (before.name, after.name)
    hindrance = _hindrance(before, after)
    if hindrance:
        return _uncompared(before, after, hindrance, score, confidence)
    old, new = before.arm(MADE, CHECK), after.arm(MADE, CHECK)
    chosen = choose(after, score)
    higher = after.directions
    found = pairs(old, new, higher, confidence)
    sides = Sides(before.name, after.name, "the change")
    verdict = judge(found, chosen, blocks(old, new), sides, confidence)
    references = pairs(
        before.arm(REFERENCE, CHECK), after.arm(REFERENCE, CHECK), higher, confidence
    )
    return Content(
        kind=after.kind,
        about=about,
        verdict=verdict,
        names=names,
        confidence=confidence,
        found=found,
        score=chosen,
        warnings=(
            *_refusals(before, after),
            *_references(references, chosen),
            *elsewhere(before, after),
            *stale(before),
            *stale(after),
            *_no_score((old, new), chosen, names),
        ),
        changes=parameters(before, after),
        ran=stages(before, after),
        metrics=metrics(before, after),
        panels=panels((("before", before), ("after", after))),
        pictures=_sheet(
            [("Before", before, MADE), ("After", after, MADE)], chosen, found, about, verdict
        ),
    )


def alone(results: Results, score: str, confidence: float) -> Content:
    """One revision: what was made against its reference, with the same prompts and seeds."""
    sides = CHOSEN if results.kind == "study" else TUNED
    old, new = results.arm(REFERENCE, CHECK), results.arm(MADE, CHECK)
    chosen = choose(results, score)
    found = pairs(old, new, results.directions, confidence)
    verdict = judge(found, chosen, blocks(old, new), sides, confidence)
    roles = ROLES.get(results.kind, ("Base model", "Fine-tuned"))
    names = (sides.before, sides.after)
    about = f"{sides.after} against {sides.before}"
    return Content(
        kind=results.kind,
        about=about,
        verdict=verdict,
        names=names,
        confidence=confidence,
        found=found,
        score=chosen,
        warnings=(*_refusals(results), *_no_score((old, new), chosen, names)),
        metrics=metrics(None, results),
        panels=panels((("this run", results),)),
        pictures=_sheet(
            [(roles[0], results, REFERENCE), (roles[1], results, MADE)],
            chosen,
            found,
            about,
            verdict,
        ),
        alone=True,
    )


def choose(results: Results, wanted: str) -> str | None:
    """The column that the verdict is about: `wanted`, a scorer's name, or `auto` (the first)."""
    known = results.scores
    infer = results.params.get("infer")
    scorers = infer.get("scorers", ["clip"]) if isinstance(infer, Mapping) else []
    name = scorers[0] if wanted == AUTO and isinstance(scorers, list) and scorers else wanted
    bare = [column.split("@")[0].split(":")[0] for column in known]
    fits = [
        *(column for column in known if column == name),
        *(column for column, stem in zip(known, bare, strict=True) if stem == name),
        *(column for column in known if column.startswith(str(name))),
    ]
    if fits:
        return fits[0]
    return (known[0] if known else None) if wanted == AUTO else wanted


def _hindrance(before: Results, after: Results) -> str:
    """Why the two cannot be compared at all; empty where they can."""
    if before.kind != after.kind:
        return f"{before.name} is of kind {before.kind}, {after.name} of kind {after.kind}"
    for results in (after, before):
        if not results.arm(MADE, CHECK):
            why = results.missing[0] if results.missing else f"{results.name} has no check pictures"
            command = "dvc repro makes it, then commit what git keeps"
            return f"{why} ({command})"
    return ""


def _uncompared(
    before: Results, after: Results, why: str, score: str, confidence: float
) -> Content:
    """The later side alone, under a headline that says why it is not compared."""
    shown = alone(after, score, confidence)
    said = (shown.verdict.headline, shown.verdict.detail) if after.pictures else ()
    verdict = Verdict(NONE, f"No comparison: {why}.", " ".join(said).strip(), shown.verdict.notes)
    same_kind = before.kind == after.kind
    return Content(
        kind=after.kind,
        about=f"{before.name}, then {after.name}",
        verdict=verdict,
        names=shown.names,
        confidence=confidence,
        found=shown.found,
        score=shown.score,
        warnings=(*shown.warnings, *stale(after)),
        changes=parameters(before, after),
        ran=stages(before, after) if same_kind else (),
        metrics=shown.metrics,
        panels=shown.panels,
        pictures=shown.pictures,
        alone=True,
    )


def _refusals(*sides: Results) -> tuple[str, ...]:
    out = []
    for found, text in (
        (
            [one.name for one in sides if one.refused],
            "select found no checkpoint that is better than the base model and went on with the "
            "newest one. Its pictures are unproven.",
        ),
        (
            [one.name for one in sides if one.metrics.get("study", {}).get("confirmed") == 0],
            "the study confirmed no recipe as better than its baseline, which goes on.",
        ),
    ):
        where = f"{' and '.join(found)}: " if len(sides) > 1 else ""
        out += [where + text] if found else []
    return tuple(out)


def _references(found: Sequence[Pair], score: str | None) -> tuple[str, ...]:
    """The pictures without what was learned should be the same on both sides."""
    pair = next((one for one in found if one.score == score), None)
    if pair is None or pair.identical:
        return ()
    gain = numbers(pair).signed(pair.found.gain.mean)
    return (
        f"The reference pictures changed as well ({gain} in {pair.score}): the model or the "
        "settings of infer are not the same, so not all of the difference was learned.",
    )


def _no_score(
    arms: Sequence[Sequence[Row]], score: str | None, names: Sequence[str]
) -> tuple[str, ...]:
    """Pictures that could not be made or judged count for nothing, which may hide a failure."""
    out = []
    for name, arm in zip(names, arms, strict=True):
        lost = sum(1 for p in arm if score and math.isnan(p.scores.get(score, 0.0)))
        if lost:
            out.append(
                f"{name}: {lost} of {len(arm)} check pictures have no score and are left out."
            )
    return tuple(out)


def _sheet(
    arms: Sequence[tuple[str, Results, str]],
    score: str | None,
    found: Sequence[Pair],
    about: str,
    verdict: Verdict,
) -> Sheet:
    pair = next((one for one in found if one.score == score), None)
    write = numbers(pair) if pair else Numbers(3)
    means = (pair.before, pair.after) if pair else (None, None)
    sides = [
        Side(
            role,
            (f"mean {write.plain(mean.mean)}", "of the check pictures") if mean else (),
            tuple(p for p in results.pictures if p.arm == arm),
            results.revision.read,
        )
        for (role, results, arm), mean in zip(arms, means, strict=True)
    ]
    return sheet(
        sides,
        score,
        title=verdict.short or verdict.headline,
        subtitle=about,
        write=write,
        higher_is_better=pair.higher_is_better if pair else True,
    )
