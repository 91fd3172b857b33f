"""A choice in words: the answer first, then what each question said, then how far to trust it."""

from collections.abc import Iterator
from typing import Any

from teststrip.evidence.numbers import count, percent
from teststrip.evidence.ranking import UNCLEAR
from teststrip.evidence.verdict import settled_by
from teststrip.train.select.criterion import LOSS, ON_THESE_SEEDS, Criterion
from teststrip.train.select.measured import BASE
from teststrip.train.select.rule import Choice
from teststrip.train.select.trend import Trend


def why(choice: Choice) -> str:
    """The answer in one or two sentences, or the refusal and what would settle it."""
    if choice.leader is None:
        return _refused(choice)
    step, parts = choice.leader, []
    for criterion in choice.asked:
        row = criterion.row(step)
        if row is not None and criterion.has_base:
            parts.append(
                f"{_compared(criterion, step)}, on {count(criterion.units, criterion.unit)}"
            )
    text = f"Step {step}: against the base model " + "; ".join(parts) + "."
    others = [s for s in choice.answer if s != step]
    if others:
        text += (
            f" Not distinguishable from it: step{'s' * (len(others) > 1)} "
            + ", ".join(map(str, others))
            + "."
        )
    return text


def lines(choice: Choice) -> list[str]:
    """What every question said, what was dropped and why, and what the numbers rest on."""
    out: list[str] = []
    for criterion in choice.asked:
        out += _criterion(criterion)
    if choice.trend is not None and choice.loss is not None:
        out.append(_trend(choice.trend, choice.loss))
    out += [f"step {step} is out: {reason}" for step, reason in sorted(choice.out.items())]
    out += _copies(choice)
    for criterion in choice.beside:
        if choice.leader is not None and criterion.has_base and criterion.row(choice.leader):
            out.append(f"decides nothing: {_compared(criterion, choice.leader)} at the chosen step")
    out += list(choice.silent)
    if choice.options.keep_back:
        out.append(
            f"{count(len(choice.options.keep_back), 'prompt')} kept back from this decision, to "
            "confirm it"
        )
    if choice.asked:
        share = 100 * choice.asked[0].confidence
        out.append(
            f"{share:g} % intervals, p after Holm's correction for all checkpoints: with nothing "
            "better than the base model an answer comes up in at most 5 % of runs"
        )
    return out


def as_dict(choice: Choice) -> dict[str, Any]:
    """For select.json and --json."""
    found = choice.trend
    return {
        "run": choice.run.name,
        "step": choice.leader,
        "answer": list(choice.answer),
        "why": why(choice),
        "refused": choice.leader is None,
        "by": choice.options.by,
        "criteria": [_numbers(criterion) for criterion in choice.asked],
        "beside": [_numbers(criterion) for criterion in choice.beside],
        "trend": None
        if found is None
        else {
            "word": found.word,
            "last": found.last,
            "since": found.since,
            "gain": found.gain.mean if found.gain else None,
            "low": found.gain.low if found.gain else None,
            "high": found.gain.high if found.gain else None,
        },
        "copies": {
            str(step): {"copies": c.copies, "pictures": c.pictures, "limit": c.limit}
            for step, c in sorted(choice.copies.items())
        },
        "out": {str(step): reason for step, reason in sorted(choice.out.items())},
        "kept_back": list(choice.options.keep_back),
        "notes": lines(choice),
    }


def _refused(choice: Choice) -> str:
    text = f"No checkpoint of {choice.run.name} is chosen: {choice.refusal}."
    if not choice.asked:
        return " ".join([text, *(f"{silent}." for silent in choice.silent)])
    settled = list(_settled(choice))
    return " ".join([text, *settled])


def _settled(choice: Choice) -> Iterator[str]:
    """What would settle it, by the checkpoint that looks best in each question."""
    for criterion in choice.asked:
        first = next((s for s in criterion.order if s != BASE), None)
        if first is None or not criterion.has_base:
            continue
        steps = [s for s in criterion.order if s != BASE]
        row = next(r for r in criterion.against(steps, BASE) if r.a == str(first))
        yield f"{_compared(criterion, first)}, on {count(criterion.units, criterion.unit)}."
        if criterion.verdict(first) == ON_THESE_SEEDS:
            yield "All prompts share these seeds; more of them (validation.seeds) would settle it."
        if row.verdict == UNCLEAR and (more := settled_by(row, criterion.unit)):
            yield more


def _criterion(criterion: Criterion) -> Iterator[str]:
    direction = "lower" if criterion.grid.sign < 0 else "higher"
    yield (
        f"{criterion.name} ({direction} is better), {count(criterion.units, criterion.unit)}: best "
        f"set {_steps(criterion.leaders)}"
    )
    for row in sorted(criterion.ranking.rows, key=lambda row: int(row.recipe_id)):
        step = int(row.recipe_id)
        name = "base" if step == BASE else f"step {step}"
        if row.mean.units:
            told = f"  {name}: {criterion.numbers.plain(row.mean.mean)}"
            told += f", {_compared(criterion, step)}" if step != BASE and criterion.has_base else ""
            yield told


def _compared(criterion: Criterion, step: int) -> str:
    """`held-out loss lower by 0.003 (0.001 to 0.005), better`, p with it."""
    row = criterion.row(step)
    if row is None or row.gain.low is None or row.gain.high is None:
        return f"{criterion.name} not compared"
    write, sign = criterion.numbers, criterion.grid.sign
    change = row.gain.flipped(sign)
    p = "p < 0.001" if row.p_holm < 0.001 else f"p {row.p_holm:.3f}"
    return (
        f"{criterion.name} {write.signed(change.mean)} ({write.span(change, signed=True)}), "
        f"{p}, {criterion.verdict(step)}"
    )


def _copies(choice: Choice) -> Iterator[str]:
    if choice.copies:
        most = max(choice.copies.values(), key=lambda c: c.share)
        who = f"{most.copies} of {count(most.pictures, 'picture')} at step {most.step}, the most,"
        honest = f"which none of {count(len(choice.run.honest), 'held-out picture')} passes"
        given = choice.options.copy_limit is not None
        yield (
            f"copies: {who if most.copies else 'no picture of any checkpoint'} came nearer to a "
            f"training picture than {most.limit:.3f}, {'as given' if given else honest}; "
            f"{percent(most.allowed)} beyond the base model's {percent(most.base_share)} are let "
            "pass"
        )
    elif choice.run.nearest is not None:
        yield (
            "copies: not judged; how near an honest picture comes is not known (no held-out "
            "pictures, or they were moved); --copy-limit gives a similarity"
        )


def _trend(found: Trend, loss: Criterion) -> str:
    text = f"{LOSS}: {found.word} at step {found.last}"
    if found.gain is not None:
        write = loss.numbers
        text += f": at step {found.since} it was lower by {write.plain(found.gain.mean)} "
        text += f"({write.span(found.gain)})"
    return text


def _steps(steps: tuple[int, ...]) -> str:
    return ", ".join("base" if step == BASE else f"step {step}" for step in steps)


def _numbers(criterion: Criterion) -> dict[str, Any]:
    return {
        "name": criterion.name,
        "unit": criterion.unit,
        "units": criterion.units,
        "confidence": criterion.confidence,
        "best_set": list(criterion.leaders),
        "steps": [
            {
                "step": int(row.recipe_id),
                "mean": row.mean.mean if row.mean.units else None,
                "gain": row.gain.mean if row.gain.units else None,
                "low": row.gain.low,
                "high": row.gain.high,
                "n": row.gain.units,
                "images": row.images,
                "p_holm": row.p_holm,
                "verdict": row.verdict
                if row.recipe_id == str(BASE)
                else criterion.verdict(int(row.recipe_id)),
                "in_best_set": row.in_best_set,
            }
            for row in sorted(criterion.ranking.rows, key=lambda row: int(row.recipe_id))
        ],
    }
