"""The answer sentence: what the study found, said no more surely than it is known."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from teststrip.evidence.confirmed import Confirmed
from teststrip.evidence.interval import Interval
from teststrip.evidence.numbers import count, percent, show
from teststrip.evidence.ranking import Ranked, Ranking
from teststrip.evidence.searched import DUMMY

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

MOST_SETTINGS = 5
MOST_LETTERS = 60


@dataclass(frozen=True)
class Answer:
    """`headline`: the finding. `detail`: its numbers. `caveat`: how far to trust it.

    `found`: something is better than the baseline (without one: the best is alone). `confirmed`:
    True or False where held-out images have spoken, else None.
    """

    headline: str
    detail: str
    caveat: str
    found: bool
    confirmed: bool | None = None


def answer(analysis: "Analysis") -> Answer:
    """The answer to "which settings should I use?", honest when there is none.

    A confirmation leads it: only its images chose nothing.
    """
    ranking = analysis.ranking
    best = ranking.row(ranking.best)
    silent = _one_recipe(analysis, best)
    if silent is not None:
        return silent
    if analysis.confirmed is not None and analysis.facts.baseline is not None:
        return _after_confirmation(analysis, analysis.confirmed)
    silent = _all_equal(analysis) or _too_few(analysis, best)
    if silent is not None:
        return silent
    if ranking.baseline is None:
        return _without_baseline(analysis, best)
    if ranking.best == ranking.baseline:
        return _nothing_better(analysis)
    return _against_baseline(analysis, best)


def sentence_name(row: Ranked) -> str:
    """A recipe by what varies: `guidance 4, steps 15`; its id where nothing does."""
    parts = setting_words(row)
    if not parts:
        return f"recipe {row.recipe_id}"
    more = len(parts) - MOST_SETTINGS
    return ", ".join(parts[:MOST_SETTINGS]) + (f" and {more} more" if more > 0 else "")


def setting_words(row: Ranked) -> tuple[str, ...]:
    """`guidance 4`, `steps 15`: one for each setting that varies and does something."""
    return tuple(f"{field} {short(value)}" for field, value in settings_shown(row).items())


def short(value: Any) -> str:
    """A setting's value, cut where it is a long text."""
    text = " ".join(show(value).split())
    return text if len(text) <= MOST_LETTERS else text[: MOST_LETTERS - 1] + "…"


def settings_shown(row: Ranked) -> dict[str, Any]:
    """A row's settings without the dummies."""
    return {f: value for f, value in row.settings.items() if not f.startswith(DUMMY)}


def name_of(analysis: "Analysis", recipe_id: str) -> str:
    """`sentence_name` by id; the id itself where the search has no such recipe."""
    rows = (row for row in analysis.ranking.rows if row.recipe_id == recipe_id)
    row = next(rows, None)
    return sentence_name(row) if row else f"recipe {recipe_id}"


def expectation(analysis: "Analysis") -> tuple[float, float] | None:
    """(gain to expect, gain as seen) of the leader over the baseline; None where not known.

    The first has the winner's curse taken off (shrunk by the mixed model).
    """
    ranking = analysis.ranking
    standing = analysis.standings.get(ranking.best)
    if ranking.baseline in (None, ranking.best) or standing is None or standing.gain is None:
        return None
    return standing.gain.mean, ranking.row(ranking.best).gain.mean


def _after_confirmation(analysis: "Analysis", confirmed: Confirmed) -> Answer:
    ranking = analysis.ranking
    if confirmed.note and not confirmed.supported:
        return Answer(
            f"Not confirmed: {confirmed.note}.",
            f"The search's leader is {sentence_name(ranking.row(ranking.best))}.",
            _trust(analysis),
            found=False,
            confirmed=False,
        )
    write, first = ranking.numbers, confirmed.rows[0]
    prompts = count(confirmed.prompts, "prompt")
    family = count(len(confirmed.rows), "leader")
    chosen = next((r for r in confirmed.rows if r.a == confirmed.champion), None)
    row = chosen or first
    lead = _lead(row.gain, ranking)
    promised = confirmed.expected.get(row.a)
    promise = "" if promised is None else f" The search promised {write.signed(promised)}."
    if row.images:
        lead += f", from {count(row.images, 'image')} of {count(row.prompts, 'prompt')}"
    lead += f".{promise}"
    if chosen is not None:
        beside = (
            ""
            if chosen is first
            else (f" The search's leader, {name_of(analysis, first.a)}, was not confirmed.")
        )
        return Answer(
            f"Confirmed on {prompts} that the search never saw: {name_of(analysis, chosen.a)} "
            "is better than the baseline.",
            f"It is {lead}{beside}",
            f"These images chose nothing: fresh prompts and seeds, corrected for {family} tested. "
            "It holds for prompts like these, as this scorer sees them.",
            found=True,
            confirmed=True,
        )
    what = name_of(analysis, first.a) if len(confirmed.rows) == 1 else f"none of the {family}"
    how = (
        "is worse than the baseline"
        if len(confirmed.rows) == 1 and first.verdict == "worse"
        else "is not distinguishable from the baseline"
        if len(confirmed.rows) == 1
        else "is better than the baseline"
    )
    return Answer(
        f"Not confirmed: {what} {how} on {prompts} that the search never saw.",
        f"{_capital(name_of(analysis, first.a))} is {lead}",
        "Keep the baseline. What the search saw was chance, or smaller than these held-out images "
        "can tell.",
        found=False,
        confirmed=False,
    )


def _one_recipe(analysis: "Analysis", best: Ranked) -> Answer | None:
    if len(analysis.ranking.rows) > 1:
        return None
    return Answer(
        "Only one recipe was tried, so there is nothing to compare.",
        f"It scores {_with_interval(best.mean, analysis.ranking)}{_behind(best)}.",
        "Give the study a space with more than one setting.",
        found=False,
    )


def _all_equal(analysis: "Analysis") -> Answer | None:
    ranking, scores = analysis.ranking, analysis.grid.values[analysis.grid.have]
    if len(scores) < 2 or np.ptp(scores) > 0:
        return None
    return Answer(
        "All scores are equal: nothing can be concluded.",
        f"Each of {count(len(scores), 'image')} of {count(len(ranking.rows), 'recipe')} scores "
        f"{ranking.numbers.plain(float(scores[0]))} by {analysis.facts.objective}.",
        "Use a scorer that tells these pictures apart, or look whether it is working.",
        found=False,
    )


def _too_few(analysis: "Analysis", best: Ranked) -> Answer | None:
    ranking = analysis.ranking
    if any(row.gain.known for row in ranking.rows if row.recipe_id != ranking.reference):
        return None
    return Answer(
        "Too few images to tell any setting from another.",
        f"{_capital(sentence_name(best))} scores highest, "
        f"{ranking.numbers.plain(best.mean.mean)}{_behind(best)}, of "
        f"{count(analysis.coverage.scored, 'scored image')} in all. One shared image says nothing "
        "of the next one.",
        "Show every recipe the same prompts and seeds, at least 8 prompts.",
        found=False,
    )


def _nothing_better(analysis: "Analysis") -> Answer:
    ranking = analysis.ranking
    runner_up = next((r for r in ranking.rows if r.recipe_id != ranking.best), None)
    nearest = (
        f" The nearest, {sentence_name(runner_up)}, is "
        f"{_lead(runner_up.gain, ranking)}{_behind(runner_up)}."
        if runner_up and runner_up.gain.units
        else ""
    )
    return Answer(
        "Nothing beat the baseline.",
        f"{count(ranking.comparisons, 'other recipe')} tried, and none scored higher.{nearest}",
        "This holds for these prompts and settings; other settings may still do better.",
        found=False,
    )


def _against_baseline(analysis: "Analysis", best: Ranked) -> Answer:
    ranking = analysis.ranking
    name, others = sentence_name(best), len(ranking.better)
    lead = f"{_lead(best.gain, ranking)}{_behind(best)}"
    trust = _trust(analysis)
    if best.verdict == "better":
        return Answer(
            f"{_capital(name)} is better than the baseline{_where(ranking)}.",
            f"It is {lead}. {_set_sentence(ranking)}",
            trust,
            found=True,
        )
    if others:
        return Answer(
            f"{_capital(name)} leads, but its lead over the baseline is not certain.",
            f"It is {lead}. {_capital(count(others, 'other recipe'))} "
            f"{'is' if others == 1 else 'are'} distinguishable from the baseline, "
            f"first {sentence_name(ranking.better[0])}. {_set_sentence(ranking)}",
            trust,
            found=True,
        )
    return Answer(
        "No setting is distinguishable from the baseline.",
        f"The leader, {name}, is {lead}; corrected for "
        f"{count(ranking.comparisons, 'comparison')} that may be chance. {_set_sentence(ranking)}",
        trust,
        found=False,
    )


def _without_baseline(analysis: "Analysis", best: Ranked) -> Answer:
    ranking = analysis.ranking
    name = sentence_name(best)
    rest = [r for r in ranking.rows if r.recipe_id != ranking.best]
    worse = sum(r.verdict == "worse" for r in rest)
    clear = len(ranking.best_set) == 1 and ranking.finalists > 1
    headline = (
        f"{_capital(name)} is the best found{_where(ranking)}."
        if clear
        else f"{_capital(name)} leads, but not alone."
        if ranking.finalists > 1
        else f"{_capital(name)} went furthest in the race."
    )
    return Answer(
        headline,
        f"It scores {_with_interval(best.mean, ranking)}{_behind(best)}. "
        f"{_set_sentence(ranking)} {_capital(count(worse, 'recipe'))} "
        f"{'is' if worse == 1 else 'are'} worse beyond chance.",
        _trust(analysis),
        found=clear,
    )


def _trust(analysis: "Analysis") -> str:
    """What a winner that was chosen on the images that are shown is worth."""
    if analysis.ranking.prompts == 1:
        return (
            "One prompt was tried, so nothing is known of any other. The leader was chosen on "
            "these same images, so a part of its lead is luck."
        )
    write, known = analysis.ranking.numbers, expectation(analysis)
    seen, less = ("", "") if known is None else (write.signed(known[1]), write.signed(known[0]))
    if known is None:
        luck = "so a part of its lead is luck: expect less on new prompts."
    elif seen == less:
        luck = f"yet the luck in its lead is too small to show: expect {less} on new prompts too."
    else:
        luck = f"so a part of its lead is luck: expect {less} on new prompts, not {seen}."
    text = f"The leader was chosen on these same images, {luck}"
    if analysis.confirmed is not None:
        return text
    return f"{text} Nothing here is confirmed on held-out prompts yet."


def _where(ranking: Ranking) -> str:
    return " on the one prompt that was tried" if ranking.prompts == 1 else ""


def _set_sentence(ranking: Ranking) -> str:
    others = [i for i in ranking.best_set if i != ranking.best]
    finalists = ranking.finalists - 1
    if not finalists:
        return "It alone ran the whole race."
    if not others:
        return (
            "The other finalist is worse."
            if finalists == 1
            else f"The {finalists} other finalists are worse."
        )
    baseline = ", the baseline included" if ranking.baseline in others else ""
    if len(others) == finalists:
        which = (
            "The other finalist cannot"
            if finalists == 1
            else f"None of the {finalists} other finalists can"
        )
    else:
        which = f"{len(others)} of the {finalists} other finalists cannot"
    return f"{which} be told from it{baseline}."


def _lead(gain: Interval, ranking: Ranking) -> str:
    write = ranking.numbers
    where = "ahead of" if gain.mean >= 0 else "behind"
    if not gain.units:
        return "without a scored image on the blocks of the baseline"
    lead = f"{write.plain(abs(gain.mean))} {where} the baseline"
    if gain.low is None:
        return f"{lead}, from a single image"
    return f"{lead} ({percent(ranking.confidence)} interval {write.span(gain, signed=True)})"


def _with_interval(value: Interval, ranking: Ranking) -> str:
    write = ranking.numbers
    if value.low is None:
        return write.plain(value.mean)
    return f"{write.plain(value.mean)} ({percent(ranking.confidence)} interval {write.span(value)})"


def _behind(row: Ranked) -> str:
    return f", from {count(row.images, 'image')} of {count(row.prompts, 'prompt')}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
