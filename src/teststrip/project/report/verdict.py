"""The verdict in words: one sentence first, then how sure it is and what would settle it."""

from collections.abc import Sequence
from dataclasses import dataclass

from teststrip.evidence.numbers import Numbers, count, percent
from teststrip.evidence.ranking import ALONE, BETTER, UNCLEAR, WORSE
from teststrip.project.report.pairs import Blocks, Pair

NONE = "no verdict"
TOO_MANY = 5000


@dataclass(frozen=True)
class Sides:
    """How the two arms are called in a sentence, and what the later one is.

    `labels`: what stands behind each arm's number.
    """

    before: str
    after: str
    subject: str
    labels: tuple[str, str] = ("before", "after")


@dataclass(frozen=True)
class Verdict:
    """`word`: better, worse, not distinguishable or no verdict. `notes`: what limits it.

    `short`: for a picture's title.
    """

    word: str
    headline: str
    detail: str = ""
    notes: tuple[str, ...] = ()
    short: str = ""


def judge(
    found: Sequence[Pair], score: str | None, seen: Blocks, sides: Sides, confidence: float
) -> Verdict:
    """The verdict by `score`, one of `found`; without it there is none, and why is said."""
    notes = _left_out(seen, sides)
    pair = next((one for one in found if one.score == score), None)
    if pair is None:
        return Verdict(NONE, f"No verdict: {_nothing(found, score, seen, sides)}.", notes=notes)
    notes += _others(found, pair)
    if pair.identical:
        return Verdict(
            UNCLEAR,
            f"No difference: {sides.subject} has the same {pair.score} on every check picture.",
            f"{_sample(pair, sides)}.",
            notes,
        )
    if pair.found.verdict == ALONE:
        return Verdict(
            NONE,
            f"No verdict: one check prompt says nothing of others; it differs "
            f"by {_amount(pair, confidence)}.",
            f"{_sample(pair, sides)}. Put more prompts into data/prompts.txt.",
            notes,
        )
    began = {
        BETTER: f"Better: {sides.subject} gains",
        WORSE: f"Worse: {sides.subject} brings",
        UNCLEAR: f"Not distinguishable: {sides.subject} differs by",
    }[pair.found.verdict]
    return Verdict(
        pair.found.verdict,
        f"{began} {_amount(pair, confidence)}.",
        f"{_sample(pair, sides)}; {_test(pair)}. {settles(pair)}".strip(),
        notes,
        f"{pair.found.verdict.capitalize()}: {_gain(pair)}",
    )


def numbers(pair: Pair) -> Numbers:
    """How this score's numbers are written."""
    return Numbers.of([pair.found.gain])


def settles(pair: Pair) -> str:
    """What would settle a difference that cannot be told; empty where it can."""
    if pair.found.verdict != UNCLEAR or pair.identical:
        return ""
    if pair.needed is None or pair.needed > TOO_MANY:
        return f"More than {TOO_MANY:,} prompts would be needed to tell a difference so small."
    more = pair.needed - pair.found.prompts
    if more <= 0:
        return "The test and the interval are at odds here; a few more prompts would settle it."
    return (
        f"If the difference is as large as it looks, {count(more, 'more check prompt')} "
        f"({pair.needed:,} in all) would tell it in 80 % of cases."
    )


def p_words(p: float) -> str:
    """`p < 0.001` or `p 0.024`."""
    return "p < 0.001" if p < 0.001 else f"p {p:.3f}"


def _amount(pair: Pair, confidence: float) -> str:
    """`+0.021 in clip@1 (95 % interval +0.012 to +0.030, p < 0.001, 12 prompts)`; + is better."""
    write, gain = numbers(pair), pair.found.gain
    span = write.span(gain, signed=True)
    inside = [f"{percent(confidence)} interval {span}"] if span else []
    inside += [p_words(pair.found.p_holm)] if span else []
    inside += [count(pair.found.prompts, "prompt")]
    return f"{_gain(pair)} ({', '.join(inside)})"


def _gain(pair: Pair) -> str:
    return f"{numbers(pair).signed(pair.found.gain.mean)} in {pair.score}"


def _sample(pair: Pair, sides: Sides) -> str:
    pictures, prompts = pair.found.images, pair.found.prompts
    lower = "" if pair.higher_is_better else ", where less is better, so + means less"
    return (
        f"Measured on {count(pictures, 'pair')} of pictures with the same prompt and seed, "
        f"{count(prompts, 'prompt')}, by {pair.score}{lower}: {_means(pair, sides)}"
    )


def _means(pair: Pair, sides: Sides) -> str:
    write, (old, new) = numbers(pair), sides.labels
    return f"{write.plain(pair.before.mean)} {old}, {write.plain(pair.after.mean)} {new}"


def _test(pair: Pair) -> str:
    over = f", Holm over {pair.found.family} scores" if pair.found.family > 1 else ""
    lost = pair.found.loses_on
    return f"paired t test on prompt means{over}; behind on {lost} of {pair.found.prompts} prompts"


def _nothing(found: Sequence[Pair], score: str | None, seen: Blocks, sides: Sides) -> str:
    if not seen.common:
        return (
            f"{sides.before} and {sides.after} have no check picture with the same prompt and "
            "seed in common"
        )
    if found:
        known = ", ".join(one.score for one in found)
        return f"the score {score} is not on both sides; {known} is"
    return "no check picture has the same score on both sides"


def _left_out(seen: Blocks, sides: Sides) -> tuple[str, ...]:
    if seen.same:
        return ()
    parts = [
        f"{count(number, 'picture')} only in {name}"
        for number, name in ((seen.only_before, sides.before), (seen.only_after, sides.after))
        if number
    ]
    return (
        f"The check prompts or seeds changed: {' and '.join(parts)} left out; "
        f"{count(len(seen.common), 'pair')} compared.",
    )


def _others(found: Sequence[Pair], pair: Pair) -> tuple[str, ...]:
    """Other scores that disagree, or that changed where the first one did not."""
    out = []
    for one in found:
        if one is pair or one.found.verdict in (UNCLEAR, ALONE, pair.found.verdict):
            continue
        gain = numbers(one).signed(one.found.gain.mean)
        out.append(
            f"By {one.score} it is {one.found.verdict}: {gain}, {p_words(one.found.p_holm)}."
        )
    return tuple(out)
