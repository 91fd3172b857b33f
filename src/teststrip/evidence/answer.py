"""The answer sentence: what the study found, said no more surely than it is known."""

from dataclasses import dataclass

from teststrip.evidence.facts import StudyFacts
from teststrip.evidence.interval import Interval
from teststrip.evidence.numbers import Numbers, count, percent, show
from teststrip.evidence.ranking import Ranked, Ranking

MOST_SETTINGS = 5


@dataclass(frozen=True)
class Answer:
    """`headline`: the finding. `detail`: its numbers. `caveat`: how far to trust it."""

    headline: str
    detail: str
    caveat: str
    found: bool


CHOSEN_HERE = (
    "The leader was chosen on these same images, so a part of its lead is luck: expect less on "
    "new prompts. Nothing here is confirmed on held-out prompts yet."
)


def answer(ranking: Ranking, facts: StudyFacts) -> Answer:
    """The answer to "which settings should I use?", honest when there is none."""
    best = ranking.row(ranking.best)
    name = sentence_name(best)
    write = ranking.numbers
    if len(ranking.rows) == 1:
        return Answer(
            "Only one recipe was tried, so there is nothing to compare.",
            f"It scores {_with_interval(best.mean, facts, write)}{_behind(best)}.",
            "Give the study a space with more than one setting.",
            found=False,
        )
    if ranking.baseline is None:
        return _without_baseline(ranking, facts, best, write)
    if ranking.best == ranking.baseline:
        runner_up = next((r for r in ranking.rows if r.recipe_id != ranking.best), None)
        nearest = (
            f" The nearest, {sentence_name(runner_up)}, is {_lead(runner_up.gain, facts, write)}."
            if runner_up and runner_up.gain.units
            else ""
        )
        return Answer(
            "Nothing beat the baseline.",
            f"{count(ranking.comparisons, 'other recipe')} tried, and none scored higher.{nearest}",
            "This holds for these prompts and settings; other settings may still do better.",
            found=False,
        )
    lead = f"{_lead(best.gain, facts, write)}{_behind(best)}"
    if best.verdict == "better":
        return Answer(
            f"{_capital(name)} is better than the baseline.",
            f"It is {lead}. {_set_sentence(ranking)}",
            CHOSEN_HERE,
            found=True,
        )
    others = len(ranking.better)
    if others:
        return Answer(
            f"{_capital(name)} leads, but its lead over the baseline is not certain.",
            f"It is {lead}. {_capital(count(others, 'other recipe'))} "
            f"{'is' if others == 1 else 'are'} distinguishable from the baseline, "
            f"first {sentence_name(ranking.better[0])}. {_set_sentence(ranking)}",
            CHOSEN_HERE,
            found=True,
        )
    return Answer(
        "No setting is distinguishable from the baseline.",
        f"The leader, {name}, is {lead}; corrected for {ranking.comparisons} comparisons that "
        f"may be chance. {_set_sentence(ranking)}",
        CHOSEN_HERE,
        found=False,
    )


def sentence_name(row: Ranked) -> str:
    """A recipe by what varies: `guidance 4, steps 15`; its id where nothing does."""
    parts = [f"{field} {show(value)}" for field, value in row.settings.items()]
    if not parts:
        return f"recipe {row.recipe_id}"
    more = len(parts) - MOST_SETTINGS
    return ", ".join(parts[:MOST_SETTINGS]) + (f" and {more} more" if more > 0 else "")


def _without_baseline(ranking: Ranking, facts: StudyFacts, best: Ranked, write: Numbers) -> Answer:
    name = sentence_name(best)
    rest = [r for r in ranking.rows if r.recipe_id != ranking.best]
    worse = sum(r.verdict == "worse" for r in rest)
    clear = len(ranking.best_set) == 1 and ranking.finalists > 1
    headline = (
        f"{_capital(name)} is the best found."
        if clear
        else f"{_capital(name)} leads, but not alone."
        if ranking.finalists > 1
        else f"{_capital(name)} went furthest in the race."
    )
    return Answer(
        headline,
        f"It scores {_with_interval(best.mean, facts, write)}{_behind(best)}. "
        f"{_set_sentence(ranking)} {_capital(count(worse, 'recipe'))} "
        f"{'is' if worse == 1 else 'are'} worse beyond chance.",
        CHOSEN_HERE,
        found=clear,
    )


def _set_sentence(ranking: Ranking) -> str:
    others = [i for i in ranking.best_set if i != ranking.best]
    finalists = ranking.finalists - 1
    if not finalists:
        return "It alone ran the whole race."
    if not others:
        return (
            "The other finalist is worse."
            if finalists == 1
            else (f"The {finalists} other finalists are worse.")
        )
    baseline = ", the baseline included" if ranking.baseline in others else ""
    if len(others) == finalists:
        which = (
            "The other finalist cannot"
            if finalists == 1
            else (f"None of the {finalists} other finalists can")
        )
    else:
        which = f"{len(others)} of the {finalists} other finalists cannot"
    return f"{which} be told from it{baseline}."


def _lead(gain: Interval, facts: StudyFacts, write: Numbers) -> str:
    where = "ahead of" if gain.mean >= 0 else "behind"
    lead = f"{write.plain(abs(gain.mean))} {where} the baseline"
    if gain.low is None:
        return f"{lead}, from a single image"
    return f"{lead} ({percent(facts.confidence)} interval {write.span(gain, signed=True)})"


def _with_interval(value: Interval, facts: StudyFacts, write: Numbers) -> str:
    if value.low is None:
        return write.plain(value.mean)
    return f"{write.plain(value.mean)} ({percent(facts.confidence)} interval {write.span(value)})"


def _behind(row: Ranked) -> str:
    return f", from {count(row.images, 'image')} of {count(row.prompts, 'prompt')}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
