"""The report as a page: what it says, what it loads, how it stands in a real browser."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from teststrip import a1111
from teststrip.errors import StorageError
from teststrip.evidence import findings, gallery, markdown, report
from teststrip.evidence.analysis import analyse
from teststrip.evidence.answer import answer
from teststrip.evidence.summary import summarise
from teststrip.evidence.table import checked
from teststrip.testing.browser import ARGUMENTS, BROWSER


@pytest.fixture(scope="module")
def page(known):
    return report.render(*known)


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.seen, self.addresses, self.ids, self.without_alt = [], [], set(), 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.seen.append(tag)
        self.addresses += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset")]
        self.ids |= {v for k, v in attrs if k == "id"}
        self.without_alt += tag == "img" and not found.get("alt")
        assert "style" not in found, "the policy allows no style attribute"


@pytest.fixture(scope="module")
def full_page(full, known):
    return report.render(full, known[1])


def test_the_page_holds_everything_and_loads_nothing(full_page):
    page, tags = full_page, Tags(full_page)

    assert "script" not in tags.seen
    assert all(address.startswith(("data:", "#")) for address in tags.addresses)
    assert {a[1:] for a in tags.addresses if a.startswith("#")} <= tags.ids
    assert tags.without_alt == 0
    assert "default-src 'none'" in page
    assert not re.search(r"url\((?!#)|@import", page)


def test_what_a_user_typed_is_escaped(page, full_page):
    assert "<script>" not in page + full_page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page
    assert "a &lt;i&gt;study&lt;/i&gt;" in page
    assert full_page.count("&lt;script&gt;alert(1)") >= 4


def test_the_sections_stand_in_the_order_of_the_questions(full_page):
    wanted = [
        "best",
        "luck",
        "importance",
        "sheet",
        "time",
        "scorers",
        "next",
        "confirmed",
        "ranking",
        "again",
        "method",
    ]

    assert re.findall(r'<section id="(\w+)"', full_page) == wanted
    assert re.findall(r'<li><a href="#(\w+)"', full_page) == wanted


def test_the_numbers_on_the_page_are_those_of_the_ranking(page, known):
    analysis, _ = known
    ranking, write = analysis.ranking, analysis.ranking.numbers
    best = ranking.row(ranking.best)
    standing = analysis.standings[ranking.best]

    for row in ranking.rows:
        assert write.signed(row.gain.mean) in page
    assert write.span(best.gain, signed=True) in page
    assert write.signed(standing.gain.mean) in page
    assert f"of {standing.prompts} prompts" in page
    assert answer(analysis).headline in page.replace("\u00a0", " ")
    assert f">{len(analysis.table)}</dd>" in page


def test_every_conclusion_is_on_the_page(full_page):
    for text in (
        "Confirmed on 12 prompts that the search never saw",
        "no evidence of effect",
        "does nothing by construction",
        "8 more prompts would narrow the interval of one recipe's gain from ±&nbsp;0.020 to",
        "People prefer the left side",
        "clip@1 agrees with people more often",
        "teststrip study promote sim",
        "its worst tenth",
        "1 recipe failed on more than a quarter",
        "Recipes were shown different prompts and seeds",
        "There are few prompts.",
        "Is it best for every kind of prompt?",
        "one unit, no interval",
    ):
        assert text.replace("'", "&#39;") in full_page or text in full_page, text
    words = re.sub(r"data:[^\"]+|<style>.*?</style>", "", full_page, flags=re.S)
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", words)


def test_a_refused_importance_says_why_and_how(full, known):
    refused = replace(
        full.importance, mains=(), pairs=(), refused="A tpe search crowds. Run sobol."
    )

    page = report.render(replace(full, importance=refused), known[1])

    assert "No importance is given. A tpe search crowds. Run sobol." in page
    assert 'id="terms"' not in page


def test_the_best_recipe_can_be_made_again_from_the_page(page, known):
    best = known[0].ranking.best
    text = re.search(r'<pre id="a1111">(.*?)</pre>', page, re.S).group(1)
    code = re.search(r'<pre id="diffusers">(.*?)</pre>', page, re.S).group(1)
    unescape = __import__("html").unescape

    assert a1111.from_text(unescape(text)).request.recipe.recipe_id == best
    compile(unescape(code), "diffusers", "exec")


def test_a_strip_runs_from_the_best_picture_to_the_worst(known):
    analysis, read_png = known
    best = analysis.ranking.best
    own = analysis.table[analysis.table["recipe_id"] == best]["clip@1"].sort_values()

    strip = gallery.strip(analysis, best, read_png)
    shots = [*strip.typical, *strip.worst]
    wall = gallery.wall(analysis, best, read_png)

    assert [s.score for s in shots] == sorted((s.score for s in shots), reverse=True)
    assert (shots[0].score, shots[-1].score) == (own.iloc[-1], own.iloc[0])
    assert strip.worst_of == 4
    assert all(s.score in own.iloc[:4].tolist() for s in strip.worst)
    assert [s.score for s in wall] == own.tolist()


def test_missing_pictures_and_failures_are_said(known):
    analysis, _ = known
    table, facts = analysis.table.copy(), analysis.facts
    failed = table.index[(table["block"] == 1) & (table["recipe_id"] == facts.baseline)]
    table.loc[failed, ["status", "reason", "clip@1"]] = ["failed", "out of <memory>", np.nan]

    def nothing(path):
        raise StorageError(f"{path}: gone")

    page = report.render(analyse(table, facts), nothing)

    assert "picture missing" in page
    assert "failed: out of &lt;memory&gt;" in page
    assert "1 image failed" in page


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 1), (3, 8)])
@pytest.mark.parametrize("baseline", ["r000", None])
def test_the_smallest_studies_have_a_report(worlds, facts, shape, baseline):
    values = np.random.default_rng(0).normal(size=shape)
    table = checked(worlds.frame(values, np.arange(shape[1])))
    analysis = analyse(table, facts(baseline=baseline))

    page = report.render(analysis, lambda path: b"")

    assert answer(analysis).headline in page.replace("\u00a0", " ")
    assert markdown.render(analysis)
    assert json.dumps(summarise(analysis), allow_nan=False)
    words = re.sub(r"data:[^\"]+|<style>.*?</style>", "", page, flags=re.S)
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", words)


def test_a_page_of_thousands_of_recipes_is_bounded(worlds, facts, monkeypatch):
    rng = np.random.default_rng(0)
    settings = [{"recipe.steps": i, "recipe.negative_prompt": "x" * 500} for i in range(1500)]
    table = checked(worlds.frame(rng.normal(size=(1500, 2)), np.arange(2), grid=settings))
    analysis = analyse(table, facts())

    page = report.render(analysis, lambda path: b"")

    assert "1100 recipes more" in page
    assert len(page) < 1_500_000
    assert len(markdown.render(analysis).encode()) < 60_000


def test_a_page_of_500_noisy_pictures_stays_below_5_mb(worlds, facts):
    """Noise is what compresses worst; all recipes of the best set show their pictures."""
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(4):
        data = io.BytesIO()
        noise = rng.integers(0, 256, (768, 768, 3), dtype=np.uint8)
        Image.fromarray(noise).save(data, "PNG", compress_level=1)
        drawn.append(data.getvalue())
    settings = [{"recipe.steps": i} for i in range(10)]
    table = worlds.frame(rng.normal(size=(10, 50)), np.arange(50) % 25, grid=settings)
    table["png"] = [f"{i % 4}" for i in range(500)]

    page = report.render(analyse(checked(table), facts()), lambda path: drawn[int(path)])

    assert page.count("<img") > 100
    assert len(page.encode()) < 5_000_000


def test_pictures_outside_of_the_study_are_refused(tmp_path):
    inside, outside = tmp_path / "study", tmp_path / "secret.png"
    (inside / "images").mkdir(parents=True)
    (inside / "images" / "a.png").write_bytes(b"a")
    outside.write_bytes(b"secret")
    (inside / "images" / "link.png").symlink_to(outside)
    read = report.file_reader(inside)

    assert read("images/a.png") == b"a"
    for name in ("../secret.png", str(outside), "images/link.png"):
        with pytest.raises(StorageError, match="outside"):
            read(name)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no chromium here")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_in_a_browser(browser, full_page, full, tmp_path, width, scheme):
    path = Path(tmp_path) / "report.html"
    path.write_text(full_page, encoding="utf-8")
    said, asked = [], []
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, java_script_enabled=True
    )
    view = context.new_page()
    view.on("console", lambda message: said.append(message.text))
    view.on("pageerror", lambda error: said.append(str(error)))
    view.on("request", lambda request: asked.append(request.url))

    view.goto(path.as_uri())

    headline = view.locator("h1").inner_text().replace("\u00a0", " ")
    assert headline == answer(full).headline
    assert view.locator("h1").bounding_box()["y"] < 400
    assert view.locator("#ranking-first tbody tr").count() == findings.FIRST_ROWS
    assert view.locator("#ranking-rest tbody tr").count() == 13 - findings.FIRST_ROWS
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert view.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    paper = view.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) < 128) == (scheme == "dark")
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    context.close()
