"""The report as Markdown: the comment on a merge request, and report.md beside its pictures.

Everything typed by a user is escaped for Markdown and for the HTML inside it.
"""

import re
from collections.abc import Sequence

from teststrip.evidence.markdown import escape
from teststrip.evidence.numbers import percent
from teststrip.project.report.content import Content
from teststrip.project.report.pairs import Pair
from teststrip.project.report.verdict import p_words

SHEET, CURVES, PAGE = "contact-sheet.png", "curves.png", "index.html"
LONG = 600
MOST_CHANGES = 40
NUMBER = re.compile(r"[−-]?[\d.,]+(e[+-]?\d+)?( \([−\d., to]+\))?|–")


def render(content: Content) -> str:
    """Verdict first, then what changed, then pictures, curves and numbers."""
    said = content.verdict
    blocks = [
        f"## {escape(said.headline, LONG)}",
        escape(said.detail, LONG),
        "\n".join(f"> {escape(note, LONG)}  " for note in (*said.notes, *content.warnings)),
        _scores(content),
        _changes(content),
        _pictures(content),
        f"![Training curves]({CURVES})" if content.panels else "",
        _folded("Numbers", _metrics(content)),
        _folded("What ran again", _ran(content)),
        f"<sub>Teststrip, {escape(content.kind)}: {escape(content.about)}. All of it: "
        f"[{PAGE}]({PAGE}).</sub>",
    ]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], right: int = 1) -> str:
    """The first `right` columns are text, the rest numbers."""
    rule = ["---"] * right + ["--:"] * (len(head) - right)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>" if body else ""


def _scores(content: Content) -> str:
    if not content.found:
        return ""
    span = f"difference ({percent(content.confidence)} interval)"
    head = ["score", *map(escape, content.short), span, "p", "prompts", "pairs", "verdict"]
    return _table(head, [_score(content, pair) for pair in content.found])


def _score(content: Content, pair: Pair) -> list[str]:
    write, found = content.write(pair), pair.found
    span = write.span(found.gain, signed=True)
    gain = write.signed(found.gain.mean) + (f" ({span})" if span else "")
    name = escape(pair.score) + ("" if pair.higher_is_better else " (less is better)")
    return [
        f"**{name}**" if pair.score == content.score else name,
        write.plain(pair.before.mean),
        write.plain(pair.after.mean),
        gain,
        p_words(found.p_holm).removeprefix("p ").strip(),
        str(found.prompts),
        str(found.images),
        "the same" if pair.identical else found.verdict,
    ]


def _changes(content: Content) -> str:
    if content.changes is None:
        return ""
    if not content.changes:
        return "### Parameters\n\nNone changed."
    rows = [
        [escape(c.name), _number(c.before), _number(c.after)]
        for c in content.changes[:MOST_CHANGES]
    ]
    more = len(content.changes) - MOST_CHANGES
    left = f"\n\nand {more} more" if more > 0 else ""
    return "### Parameters\n\n" + _table(["changed", "before", "after"], rows, right=3) + left


def _pictures(content: Content) -> str:
    found = content.pictures
    lines = [f"> {escape(line, LONG)}  " for line in found.missing]
    if found.png is not None:
        lines.append(f"\n![The same prompts and seeds, {escape(content.about)}]({SHEET})")
    return "### Pictures\n\n" + "\n".join(lines) if lines else ""


def _metrics(content: Content) -> str:
    if not content.metrics:
        return ""
    if content.alone:
        rows = [[escape(f"{m.stage} {m.name}"), _number(m.after)] for m in content.metrics]
        return _table(["number", "value"], rows)
    rows = [
        [escape(f"{m.stage} {m.name}"), _number(m.before), _bold(_number(m.after), m.changed)]
        for m in content.metrics
    ]
    return _table(["number", "before", "after"], rows)


def _ran(content: Content) -> str:
    if not content.ran:
        return ""
    rows = [
        [r.stage, r.state, *(escape(text) for text in ("; ".join(r.why), r.before, r.after))]
        for r in content.ran
    ]
    return _table(["stage", "", "what differs", "before", "after"], rows, right=5)


def _bold(text: str, strong: bool) -> str:
    return f"**{text}**" if strong else text


def _number(text: str) -> str:
    """A number as it is: only what is none needs to be escaped."""
    return text if NUMBER.fullmatch(text) else escape(text)
