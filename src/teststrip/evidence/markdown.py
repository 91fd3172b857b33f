"""The report in short, as Markdown: a comment under a merge request.

Everything typed by a user is escaped for Markdown and for the HTML inside it; links and images are
those of this file only.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from teststrip.evidence.answer import answer, name_of, sentence_name
from teststrip.evidence.findings import p_stopped, share_span
from teststrip.evidence.interval import Interval
from teststrip.evidence.numbers import count, percent
from teststrip.evidence.ranking import Ranked
from teststrip.evidence.remarks import remarks

if TYPE_CHECKING:
    from teststrip.evidence.analysis import Analysis

MOST_BEST, MOST_TERMS, MOST_CONFIRMED, MOST_RANKED, MOST_STEPS = 8, 8, 6, 25, 6
MOST_LETTERS = 300
SPECIAL = re.compile(r"([\\`*_{}\[\]|~$])")
FIRST = re.compile(r"^([-+=#]|\d+(?=[.)]))")  # would begin a list, a quotation, a heading
REFERENCE = re.compile(r"([@#!](?=\w)|:(?=//)|www(?=\.))")  # would link or notify somebody


def render(analysis: "Analysis", pictures: str = "contact-sheet.png") -> str:
    """The comment, below 60 kB. `pictures`: the contact sheet's name beside it."""
    facts, said = analysis.facts, answer(analysis)
    blocks = [
        f"## {escape(said.headline)}",
        escape(said.detail),
        f"{_stamp(said.confirmed)}{escape(said.caveat)}",
        *(f"> {escape(note)}" for note in remarks(analysis)),
        _best_set(analysis),
        _confirmed(analysis),
        _importance(analysis),
        _next(analysis),
        f"![The same prompts and seeds, side by side: best, median, worst, baseline]({pictures})",
        _folded("Luck and time", _luck(analysis)),
        _folded("Ranking", _ranking(analysis)),
        _folded("What was made", _made(analysis)),
        f"<sub>Teststrip, study {escape(facts.name)}, judged by {escape(facts.objective)}. "
        "Everything else is in report.html and study.json beside this.</sub>",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def escape(text: object, most: int = MOST_LETTERS) -> str:
    """User text on one line, without a meaning in Markdown or HTML; cut where it is long."""
    line = " ".join(str(text).split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = SPECIAL.sub(r"\\\1", line)
    line = REFERENCE.sub(r"\1&#8203;", line)  # a zero-width space stops it
    return FIRST.sub(lambda found: f"&#{ord(found[0][0])};{found[0][1:]}", line)


def _stamp(confirmed: bool | None) -> str:
    return {True: "**Confirmed.** ", False: "**Not confirmed.** ", None: ""}[confirmed]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], right: int = 1) -> str:
    """A table; the first `right` columns are text, the rest are numbers."""
    rule = ["---"] * right + ["--:"] * (len(head) - right)
    lines = [head, rule, *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>" if body else ""


def _best_set(analysis: "Analysis") -> str:
    ranking, write = analysis.ranking, analysis.ranking.numbers
    rows = [ranking.row(name) for name in ranking.best_set[:MOST_BEST]]
    if ranking.baseline and ranking.baseline not in ranking.best_set:
        rows.append(ranking.row(ranking.baseline))
    against = "baseline" if ranking.baseline else "leader"
    head = ["best set", f"gain over the {against}", "to expect", "chance of being best"]
    head += ["mean", "worst tenth", *(["pass"] if analysis.facts.threshold is not None else [])]
    head += [f"behind the {against} on", "s / image", "n"]
    cells = []
    for row in rows:
        s = analysis.standings.get(row.recipe_id)
        name = escape(sentence_name(row))
        is_baseline = row.recipe_id == ranking.baseline
        line = [f"{name} (baseline)" if is_baseline else name]
        line += [_gain(analysis, row)]
        line += [
            write.signed(s.gain.mean) if s and s.gain else "–",
            percent(s.p_best) if s else "–",
        ]
        line += [f"{write.plain(row.mean.mean)} {_in(write.span(row.mean))}".rstrip()]
        line += [
            f"{write.plain(s.worst_tenth.mean)} {_in(write.span(s.worst_tenth))}".rstrip()
            if s
            else "–"
        ]
        if analysis.facts.threshold is not None:
            known = s.passes if s else None
            line += [f"{percent(known.mean)} {_in(share_span(known))}" if known else "–"]
        loses = s.loses_on if s else None
        line += [f"{loses} of {s.prompts}" if s and loses is not None else "–"]
        line += [f"{row.seconds:.2g}" if row.seconds is not None else "–"]
        line += [f"{row.images} images, {row.prompts} prompts"]
        cells.append(line)
    more = len(ranking.best_set) - MOST_BEST
    left = f"\n\n{count(more, 'more recipe')} in the best set." if more > 0 else ""
    chance = p_stopped(analysis)
    if ranking.not_ruled_out and chance is not None:
        number = len(ranking.not_ruled_out)
        left += (
            f"\n\n{count(number, 'stopped recipe')} {'is' if number == 1 else 'are'} not ruled "
            f"out; the best is among the stopped with a probability of {percent(chance)}."
        )
    return _table(head, cells) + left


def _gain(analysis: "Analysis", row: Ranked) -> str:
    ranking, write = analysis.ranking, analysis.ranking.numbers
    if row.recipe_id == ranking.reference:
        return "0"
    if not row.gain.units:
        return "–"
    text = f"{write.signed(row.gain.mean)} {_in(write.span(row.gain, signed=True))}".rstrip()
    return f"**{text}**" if row.verdict == "better" else text


def _in(text: str) -> str:
    return f"({text})" if text else ""


def _confirmed(analysis: "Analysis") -> str:
    found, write = analysis.confirmed, analysis.ranking.numbers
    if found is None or not found.rows:
        return f"**Confirmation.** {escape(found.note)}" if found and found.note else ""
    head = ["on held-out prompts", "gain over the baseline", "promised", "p (Holm)", "n", "verdict"]
    rows = [
        [
            escape(name_of(analysis, row.a)),
            f"{write.signed(row.gain.mean)} {_in(write.span(row.gain, signed=True))}".rstrip(),
            write.signed(found.expected[row.a]) if row.a in found.expected else "–",
            _p(row.p_holm),
            f"{row.images} images, {row.prompts} prompts",
            "**confirmed**" if row.a in found.supported else row.verdict,
        ]
        for row in found.rows[:MOST_CONFIRMED]
    ]
    return "### Confirmation\n\n" + _table(head, rows)


def _importance(analysis: "Analysis") -> str:
    found = analysis.importance
    if found.refused:
        return f"### What each parameter does\n\nNot given. {escape(found.refused)}"
    if not found.mains:
        return ""
    words = {effect.field: effect.words for effect in analysis.effects}
    shown = [t for t in (*found.mains, *found.pairs) if t.shown][:MOST_TERMS]
    silent = [t.name for t in found.mains if not t.shown]
    lines = [
        f"- **{escape(t.name)}**: {percent(t.share.mean)} of the differences between recipes "
        f"{_in(share_span(t.share))}, {_p(t.p)}"
        + (f"; {escape(words[t.name])}" if words.get(t.name) else "")
        for t in shown
    ]
    if silent:
        names = ", ".join(escape(name) for name in silent[:MOST_TERMS])
        more = f" and {len(silent) - MOST_TERMS} more" if len(silent) > MOST_TERMS else ""
        lines.append(f"- No evidence of effect: {names}{more}")
    behind = (
        f"From {count(found.blocks, 'image')} of each of {count(found.recipes, 'recipe')}, "
        f"{count(found.prompts, 'prompt')}; {percent(analysis.ranking.confidence)} intervals."
    )
    return "### What each parameter does\n\n" + "\n".join(lines) + f"\n\n{behind}"


def _next(analysis: "Analysis") -> str:
    if not analysis.advice:
        return ""
    lines = []
    for k, step in enumerate(analysis.advice[:MOST_STEPS], 1):
        why = f" {escape(step.why[:1].upper() + step.why[1:])}." if step.why else ""
        command = f"\n   ```\n   {_code(step.command)}\n   ```" if step.command else ""
        lines.append(f"{k}. **{escape(step.what)}**{why}{command}")
    return "### Next\n\n" + "\n".join(lines)


def _code(text: str) -> str:
    """A command inside a fence: one line, and no fence of its own."""
    return " ".join(text.split()).replace("```", "'''")[:500]


def _luck(analysis: "Analysis") -> str:
    lines, write = [], analysis.ranking.numbers
    luck, variance = analysis.luck, analysis.variance
    if luck is not None and luck.blocks > 1:
        lines.append(
            f"- One image per setting would have crowned {count(luck.winners, 'different winner')} "
            f"on {luck.blocks} blocks of {luck.recipes} recipes; the best recipe in "
            f"{percent(luck.picks_best)} of cases."
            + (
                f" Its winner's lead is overstated by {write.plain(luck.overstated)}."
                if luck.overstated is not None
                else ""
            )
        )
    if variance is not None and variance.shares:
        shares = ", ".join(
            f"{s.source} {percent(s.share)} {_in(share_span(Interval(s.share, s.low, s.high, 1)))}"
            for s in variance.shares
        )
        lines.append(f"- Where a score comes from: {shares}; {variance.images} images.")
        if variance.now and variance.futures:
            future = variance.futures[0]
            lines.append(
                f"- {future.prompts} prompts instead of {variance.now.prompts} would narrow the "
                f"interval of a gain from ± {write.plain(variance.now.half)} to ± "
                f"{write.plain(future.half)}."
            )
    front = analysis.front
    if front.cheapest and front.delta is not None:
        lines.append(
            f"- The cheapest recipe not worse than the best by more than "
            f"{write.plain(front.delta)}: {escape(name_of(analysis, front.cheapest))} "
            f"({front.images} images, {front.prompts} prompts)."
        )
    if analysis.agreement.by_eye:
        lines.append(f"- {escape(analysis.agreement.by_eye)}")
    return "\n".join(lines)


def _ranking(analysis: "Analysis") -> str:
    rows = analysis.ranking.rows
    head = ["recipe", "#", "gain", "images", "prompts", "verdict"]
    cells = [
        [
            escape(sentence_name(row)),
            str(place),
            _gain(analysis, row),
            str(row.images),
            str(row.prompts),
            row.verdict + (", stopped early" if row.stopped else ""),
        ]
        for place, row in enumerate(rows[:MOST_RANKED], 1)
    ]
    more = len(rows) - MOST_RANKED
    left = f"\n\n{count(more, 'more recipe')} in report.html." if more > 0 else ""
    return _table(head, cells) + left


def _made(analysis: "Analysis") -> str:
    c, facts = analysis.coverage, analysis.facts
    lines = [
        f"- {c.cells:,} cells ({count(c.recipes, 'recipe')} x {count(c.blocks, 'block')} of "
        f"{count(c.prompts, 'prompt')}): {c.scored:,} scored, {c.failed:,} failed, {c.not_made:,} "
        "stopped early or never asked for",
        f"- Design: {escape(facts.design or 'unknown')}; model: {escape(facts.model or 'unknown')}",
    ]
    if facts.versions:
        lines.append("- " + ", ".join(escape(f"{n} {v}") for n, v in facts.versions[:12]))
    if facts.command:
        lines.append(f"\n```\n{_code(facts.command)}\n```")
    return "\n".join(lines)


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p {value:.3f}"
