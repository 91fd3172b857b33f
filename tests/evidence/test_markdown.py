"""The comment for a merge request: short, escaped, complete."""

import re
from dataclasses import replace

import pytest

from teststrip.evidence import markdown
from teststrip.evidence.answer import answer, sentence_name
from teststrip.evidence.markdown import escape


def test_the_comment_says_the_answer_the_numbers_and_what_is_next(full):
    text = markdown.render(full)
    ranking = full.ranking

    assert text.startswith(f"## {escape(answer(full).headline)}\n")
    for name in ranking.best_set[:8]:
        assert escape(sentence_name(ranking.row(name))) in text
    assert f"{ranking.row(ranking.best).images} images, " in text
    assert "](contact-sheet.png)" in text
    assert "### Confirmation" in text
    assert "**confirmed**" in text
    assert "No evidence of effect: " in text
    assert full.advice[0].command in text
    assert text.count("<details>") == text.count("</details>") == 3
    assert len(text.encode()) < 60_000
    assert "nan" not in text.lower().replace("pnan", "")


def test_a_refused_importance_says_why(full):
    refused = replace(full.importance, refused="It was a search by tpe.", mains=(), pairs=())

    assert "Not given. It was a search by tpe." in markdown.render(
        replace(full, importance=refused)
    )


@pytest.mark.parametrize(
    "typed",
    [
        "<script>alert(1)</script>",
        "</details><img src=x onerror=alert(1)>",
        "a | b | c",
        "[click](http://evil.example)",
        "![x](http://evil.example/x.png)",
        "*bold* _it_ `code` ~~no~~ $x$",
        "@somebody see #12 and !34",
        "www.evil.example https://evil.example",
        "# heading",
        "- list",
        "1. list",
        "> quote",
        "two\nlines\n\n## here",
        "a" * 5000,
        "back\\slash",
    ],
)
def test_what_a_user_typed_has_no_meaning_in_markdown(typed):
    text = escape(typed)

    assert not set("\n<") & set(text)
    assert len(text) < 1000
    assert not re.search(r"(?<!\\)[|`*_\[\]~$]", text)
    assert not re.search(r"[@#!]\w|://|www\.", text.replace("&#", "&"))
    assert not re.match(r"\s*([-+>]|\d+[.)]|#+ )", text)


def test_the_text_reads_the_same_once_rendered():
    html = pytest.importorskip("html")
    typed = "guidance_scale < 3 & [steps] *x* @me #1"

    seen = html.unescape(re.sub(r"\\(.)", r"\1", escape(typed))).replace("\u200b", "")

    assert seen == typed


def test_a_table_row_has_as_many_cells_as_its_head(full):
    for block in re.findall(r"(?:^\|.*\|\n)+", markdown.render(full), re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
