"""plots/contact-sheet.png: the gallery's seeds side by side, reference over made."""

from collections.abc import Mapping, Sequence
from typing import Any

from teststrip.evidence.interval import Interval
from teststrip.evidence.numbers import Numbers, count
from teststrip.evidence.sheet import MOST_COLUMNS, Cell, Column, Row, contact_sheet
from teststrip.project.layout import MADE, REFERENCE
from teststrip.project.scores import GALLERY, Scores
from teststrip.recipe import Block, Request
from teststrip.wire.stages.drawing import Drawn
from teststrip.wire.stages.learned import Learned


def verdict(numbers: Mapping[str, Any], column: str) -> str:
    """One line: how much better than the reference by a score, on how many prompts."""
    gain = numbers["gain"][column]
    found = _interval(gain)
    write = Numbers.of([found])
    if not found.units:
        return f"{column}: no score"
    span = f" ({write.span(found, signed=True)})" if found.known else ""
    size = f"{count(gain['images'], 'picture')} of {count(gain['prompts'], 'prompt')}"
    return f"{column} {write.signed(found.mean)}{span} on {size}"


def sheet(
    learned: Learned,
    blocks: Sequence[Block],
    drawn: Drawn,
    table: Scores,
    numbers: Mapping[str, Any],
) -> bytes:
    """PNG bytes; the same for the same pictures. At most eight seeds are shown."""
    column = table.columns[0]
    shown = blocks[:MOST_COLUMNS]
    found = {(r.arm, r.prompt_id, r.seed): r.scores[column] for r in table.rows if r.set == GALLERY}
    rows = []
    for arm, recipe, label, settings in (
        (REFERENCE, learned.reference, "Reference", _without(learned)),
        (MADE, learned.made, "Made", (learned.name,)),
    ):
        cells = tuple(
            Cell(
                drawn.pictures[Request(recipe=recipe, block=block)].png,
                found[arm, block.prompt_id, block.seed],
            )
            for block in shown
        )
        mean = _interval(numbers[arm][column])
        write = Numbers.of([mean])
        notes = [f"mean {write.plain(mean.mean)} {write.half(mean)}".rstrip()]
        if arm == MADE and not learned.proven:
            notes.append("unproven: not shown to be better" if learned.made.loras else "")
        rows.append(Row(label, settings, tuple(notes), cells))
    return contact_sheet(
        tuple(Column(block.prompt, block.seed) for block in shown),
        rows,
        title=learned.name[:1].upper() + learned.name[1:],
        subtitle=verdict(numbers, column),
        numbers=Numbers.of([_interval(numbers[arm][column]) for arm in (MADE, REFERENCE)]),
        higher_is_better=bool(numbers["higher_is_better"][column]),
        accent=1 if learned.proven else -1,
    )


def _without(learned: Learned) -> tuple[str, ...]:
    return ("without adapter",) if learned.made.loras else ("the study's baseline",)


def _interval(numbers: Mapping[str, Any]) -> Interval:
    return Interval(
        numbers.get("mean", float("nan")),
        numbers.get("low"),
        numbers.get("high"),
        numbers["prompts"],
    )
