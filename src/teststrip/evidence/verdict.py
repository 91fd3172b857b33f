"""A confirmation in words: one headline, then one line for each leader."""

from teststrip.evidence.answer import sentence_name
from teststrip.evidence.compare import Comparison
from teststrip.evidence.confirmed import Confirmed
from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.numbers import Numbers, count, percent
from teststrip.evidence.power import Spread, prompts_needed
from teststrip.evidence.ranking import UNCLEAR, Ranking

TOO_MANY = 5_000  # prompts: a difference that needs more is none that anybody would see


def headline(found: Confirmed, ranking: Ranking) -> str:
    """One sentence: confirmed or not, by how much, on how many prompts and seeds."""
    write = numbers(found)
    row = found.row(found.champion or "") or next(iter(found.rows), None)
    if row is None:
        return f"Not confirmed: {found.note}."
    name, size = recipe_name(row.a, ranking), on_blocks(row)
    if found.champion:
        return f"Confirmed: {name} beats the baseline by {gain(row, write)} on {size} it never saw."
    if found.note:
        return f"Not confirmed: {found.note}."
    if row.verdict != UNCLEAR or row.gain.low is None:
        return f"Not confirmed: {name} is {row.verdict} against the baseline on {size}."
    text = (
        f"Not confirmed: on {size} it never saw, {name} is not distinguishable from the baseline: "
        f"{gain(row, write)}."
    )
    return f"{text} {settled_by(row)}".rstrip()


def lines(found: Confirmed, ranking: Ranking, facts: StudyFacts) -> list[str]:
    """Each leader: gain with its interval, p, verdict; then what all of it rests on."""
    write = numbers(found)
    out = []
    for row in found.rows:
        passes = found.passes.get(row.a)
        out.append(
            f"{row.a}  {recipe_name(row.a, ranking)}: {gain(row, write)}, "
            f"{_p(row.p_holm)}, {row.verdict}; {count(row.images, 'image')} of "
            f"{count(row.prompts, 'prompt')}, behind on {row.loses_on}"
            + (f"; {percent(passes.mean)} pass" if passes else "")
            + (f"; the search promised {write.signed(found.expected[row.a])}")
            * (row.a in found.expected)
        )
    if found.rows:
        out.append(
            f"{percent(facts.confidence)} intervals by prompt; p after Holm's correction for "
            f"{count(len(found.rows), 'leader')}, all that were ever confirmed"
        )
    if found.note:
        out.append(found.note)
    return out


def numbers(found: Confirmed) -> Numbers:
    """How the confirmation's scores are written."""
    return Numbers.of([row.gain for row in found.rows])


def gain(row: Comparison, write: Numbers) -> str:
    """`+0.013 (+0.006 to +0.020)`; says so where there is no interval."""
    span = write.span(row.gain, signed=True) or "no interval"
    return f"{write.signed(row.gain.mean)} ({span})"


def on_blocks(row: Comparison) -> str:
    """`4 prompts x 8 seeds`, or images and prompts where they are uneven."""
    if row.prompts and row.images % row.prompts == 0:
        each = count(row.images // row.prompts, "seed")
        return f"{count(row.prompts, 'prompt')} x {each}"
    return f"{count(row.images, 'image')} of {count(row.prompts, 'prompt')}"


def recipe_name(recipe_id: str, ranking: Ranking) -> str:
    """A recipe by what varies; its id where the search does not know it."""
    known = next((row for row in ranking.rows if row.recipe_id == recipe_id), None)
    return sentence_name(known) if known else f"recipe {recipe_id}"


def settled_by(row: Comparison, unit: str = "prompt") -> str:
    """How many prompts would settle it, if the gain is as seen; empty where none would.

    `unit`: what is independent, where it is something else than a prompt.
    """
    if not row.gain.mean > 0 or not row.effect_size or row.prompts < 2:
        return ""
    sd = row.gain.mean / row.effect_size
    seeds = row.images / row.prompts
    seen = Spread(interplay=sd / 2**0.5, residual=0.0, source="the held-out images")
    needed = prompts_needed(row.gain.mean, seen, seeds, row.family)
    if needed is None or needed > TOO_MANY:
        return f"If the gain is as small as that, more than {TOO_MANY:,} {unit}s would be needed."
    if needed <= row.prompts:
        return ""
    return f"If the gain is as seen, {needed:,} such {unit}s would settle it in 80 % of cases."


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"
